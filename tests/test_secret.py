"""Secrets are seen and pickled by nobody who is not told their value."""

from __future__ import annotations

import logging
import os
import pickle
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.secret import Secret, export, register, withdraw

VALUE = "postgresql://user:pässwörd@host/db"

REVEAL = """
import pickle, sys
secret = pickle.loads(bytes.fromhex(sys.argv[1]))
from deltalakedb.error import DeltaLakeError
print(repr(secret), secret.available)
try:
    print(secret.reveal() == sys.argv[2])
except DeltaLakeError as error:
    print(error.kind.name, secret.reference in error.message, 'DL_DATABASE' in error.message)
"""


def reveal_elsewhere(secret: Secret, expected: str) -> list[str]:
    """What a new process, with our environment, prints of a pickled secret."""
    command = [sys.executable, "-c", REVEAL, pickle.dumps(secret).hex(), expected]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout.split()


def test_the_value_is_not_shown(caplog: pytest.LogCaptureFixture) -> None:
    secret = Secret(VALUE)
    logging.getLogger("test").warning("%s %r", secret, secret)
    shown = [str(secret), repr(secret), f"{secret}", f"{secret!r:>5}", repr([secret]), caplog.text]
    assert all("***" in text and "wörd" not in text for text in shown)
    assert not hasattr(secret, "__dict__")
    assert secret.reveal() == VALUE


@given(st.text())
def test_a_pickle_holds_only_the_reference(value: str) -> None:
    value = f"<{value}>"
    secret = Secret(value)
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        pickled = pickle.dumps(secret, protocol)
        assert value.encode("utf-8", "surrogatepass") not in pickled
        assert secret.reference.encode() in pickled
        assert pickle.loads(pickled) == secret
        assert pickle.loads(pickled).reveal() == value


def test_another_process_does_not_have_the_value() -> None:
    secret = Secret("only here")
    answer = reveal_elsewhere(secret, "only here")
    assert answer == ["***", "False", "AUTHENTICATION_ERROR", "True", "True"]


def test_export_gives_the_value_to_processes_started_afterwards() -> None:
    secret = Secret("for the workers")
    name = export(secret)
    assert name == f"DL_SECRET_{secret.reference}"
    assert reveal_elsewhere(secret, "for the workers") == ["***", "True", "True"]
    withdraw(secret)
    withdraw(secret)
    assert name not in os.environ
    assert reveal_elsewhere(secret, "for the workers")[1] == "False"


def test_a_reference_to_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DL_TEST_VALUE", "theirs")
    secret = Secret.from_environment("DL_TEST_VALUE")
    assert b"theirs" not in pickle.dumps(secret)
    assert reveal_elsewhere(secret, "theirs") == ["***", "True", "True"]
    assert secret == Secret("theirs")
    assert export(secret) == "DL_TEST_VALUE"
    withdraw(secret)
    assert secret.reveal() == "theirs"
    monkeypatch.delenv("DL_TEST_VALUE")
    with pytest.raises(DeltaLakeError, match="set DL_TEST_VALUE"):
        secret.reveal()


def test_register_makes_a_sent_value_known() -> None:
    secret = Secret.from_reference("0123456789ABCDEF")
    assert not secret.available
    with pytest.raises(DeltaLakeError) as caught:
        secret.reveal()
    assert caught.value.kind is DeltaLakeErrorKind.AUTHENTICATION_ERROR
    assert register("0123456789ABCDEF", "sent") == secret
    assert secret.reveal() == "sent"
    assert Secret("sent") == secret


def test_equality() -> None:
    assert Secret("a") == Secret("a")
    assert hash(Secret("a")) == hash(Secret("a"))
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert Secret.of(Secret("a")) == Secret.of("a")
    unknown = Secret.from_reference("F" * 16)
    assert unknown != Secret("a")
    assert unknown == Secret.from_reference("F" * 16)
    # The same value under two references, as when two processes made a secret of it.
    assert register("A" * 16, "twice") == register("B" * 16, "twice")


def test_references_tell_nothing_of_the_value() -> None:
    command = [
        sys.executable,
        "-c",
        "from deltalakedb.secret import Secret as S; print(S('a').reference)",
    ]
    references = {subprocess.run(command, capture_output=True, text=True).stdout for _ in range(2)}
    assert len(references) == 2


@pytest.mark.parametrize(
    "reference", ["", "abc", "0123456789abcdef", "../../../../etc/x", "env:", "env:A B"]
)
def test_a_reference_has_a_form(reference: str) -> None:
    with pytest.raises(DeltaLakeError, match="16 upper-case") as caught:
        register(reference, "value")
    assert caught.value.kind is DeltaLakeErrorKind.INVALID_ARGUMENT
