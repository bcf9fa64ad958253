"""Values that must not be seen: database URLs with passwords, storage keys.

A `Secret` shows `***` wherever it is printed and pickles as a reference, never as the
value. Whoever unpickles it finds the value in the registry of the own process
(`register`), or in the environment variable `DL_SECRET_<REF>` (`export` puts it there, so
that worker processes started afterwards inherit it).
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable

from deltalakedb import fork
from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.redact import HIDDEN

ENVIRONMENT_PREFIX = "DL_SECRET_"
_REFERENCE = re.compile(r"[0-9A-F]{16}|env:[A-Za-z_][A-Za-z0-9_]*")
_FROM_ENVIRONMENT = "env:"

_lock = fork.Lock()
_value_of: dict[str, str] = {}
_function_of: dict[str, Callable[[], str]] = {}
_reference_of: dict[str, str] = {}


class Secret:
    """A string that is not shown.

    Two secrets are equal when their references are, or, where both values are at hand,
    when the values are. Unpickling never fails; `reveal()` does when the value is not here.
    """

    __slots__ = ("_reference",)

    def __init__(self, value: str) -> None:
        """Hold `value` (in this process only) under a random reference."""
        with _lock:
            reference = _reference_of.get(value)
            if reference is None:
                # Random, not a hash: a hash of a weak password can be guessed offline.
                reference = os.urandom(8).hex().upper()
                _value_of[reference] = value
                _reference_of[value] = reference
        self._reference = reference

    @classmethod
    def of(cls, value: str | Secret) -> Secret:
        """`value` itself when it is a Secret already, else a Secret that holds it."""
        return value if isinstance(value, Secret) else cls(value)

    @classmethod
    def from_environment(cls, variable: str) -> Secret:
        """The value of an environment variable, in whichever process it is revealed."""
        return cls.from_reference(_FROM_ENVIRONMENT + variable)

    @classmethod
    def from_callable(cls, function: Callable[[], str]) -> Secret:
        """What `function` returns whenever it is revealed, such as a token that expires.

        Other processes are sent the value of that moment.
        """
        reference = os.urandom(8).hex().upper()
        with _lock:
            _function_of[reference] = function
        return cls.from_reference(reference)

    @classmethod
    def from_reference(cls, reference: str) -> Secret:
        """The secret that another one's `reference` names; its value may be elsewhere."""
        if not _REFERENCE.fullmatch(reference):
            raise DeltaLakeError(
                DeltaLakeErrorKind.INVALID_ARGUMENT,
                "a reference to a secret is 16 upper-case hexadecimal digits or env:VARIABLE; "
                f"got {len(reference)} characters; use Secret.reference",
            )
        secret = cls.__new__(cls)
        secret._reference = reference
        return secret

    @property
    def reference(self) -> str:
        """The name of the secret (random digits, or `env:VARIABLE`), safe to show and to send."""
        return self._reference

    def reveal(self) -> str:
        """The value. AUTHENTICATION_ERROR when this process does not have it."""
        value = self._lookup()
        if value is None:
            raise DeltaLakeError(
                DeltaLakeErrorKind.AUTHENTICATION_ERROR,
                f"this process (pid {os.getpid()}) needs a secret (a database URL or a storage "
                f"key) and was sent only its reference {self._reference}; set {self._variable} "
                "where the process starts, or give client and workers the same environment: "
                "DL_DATABASE instead of a database URL, AWS_* instead of storage options",
                reference=self._reference,
            )
        return value

    @property
    def available(self) -> bool:
        """Whether `reveal()` would succeed in this process."""
        return self._lookup() is not None

    @property
    def renewable(self) -> bool:
        """Whether `reveal()` may tell another value later."""
        in_environment = self._reference.startswith(_FROM_ENVIRONMENT)
        return self._reference in _function_of or (
            in_environment and self._reference not in _value_of
        )

    @property
    def _variable(self) -> str:
        if self._reference.startswith(_FROM_ENVIRONMENT):
            return self._reference[len(_FROM_ENVIRONMENT) :]
        return ENVIRONMENT_PREFIX + self._reference

    def _lookup(self) -> str | None:
        function = _function_of.get(self._reference)
        if function is not None:
            return function()
        value = _value_of.get(self._reference)
        return os.environ.get(self._variable) if value is None else value

    def __repr__(self) -> str:
        return HIDDEN

    def __format__(self, spec: str) -> str:
        return format(HIDDEN, spec)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        if self._reference == other._reference:
            return True
        mine, theirs = self._lookup(), other._lookup()
        if mine is None or theirs is None:
            return False
        import hmac

        return hmac.compare_digest(_bytes(mine), _bytes(theirs))

    def __hash__(self) -> int:
        # Equality may be known by value alone, and a hash of the value would leak it.
        return hash(Secret)

    def __reduce__(self) -> tuple[object, ...]:
        return Secret.from_reference, (self._reference,)


def register(reference: str, value: str) -> Secret:
    """Make `value` known to this process under `reference` (as sent by another process)."""
    secret = Secret.from_reference(reference)
    with _lock:
        _value_of[reference] = value
        _reference_of.setdefault(value, reference)
    return secret


def export(secret: Secret) -> str:
    """Put the value into the environment for processes started from now on.

    Returns the variable's name. Processes of the same user can read it there: take it
    away with `withdraw` once the workers run.
    """
    os.environ[secret._variable] = secret.reveal()
    return secret._variable


def withdraw(secret: Secret) -> None:
    """Undo `export`; what was not exported (or came from the environment) stays as it is."""
    if not secret.reference.startswith(_FROM_ENVIRONMENT):
        os.environ.pop(secret._variable, None)


def _bytes(value: str) -> bytes:
    return value.encode("utf-8", "surrogateescape")
