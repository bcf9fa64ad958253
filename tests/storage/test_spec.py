"""Where a store is and how its options are written."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.secret import Secret
from deltalakedb.storage.options import normalise_options
from deltalakedb.storage.spec import StoreSpec

PASSWORD = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"


def test_delta_rs_names_mean_the_same_as_s3fs_names() -> None:
    delta_rs = {
        "AWS_ACCESS_KEY_ID": "id",
        "aws_secret_access_key": PASSWORD,
        "AWS_SESSION_TOKEN": "session",
        "AWS_REGION": "eu-west-1",
        "AWS_ENDPOINT_URL": "http://localhost:9000",
        "AWS_ALLOW_HTTP": "TRUE",
        "aws_skip_signature": "false",
        "AWS_VIRTUAL_HOSTED_STYLE_REQUEST": True,
    }
    s3fs = {
        "key": "id",
        "secret": PASSWORD,
        "token": "session",
        "region": "eu-west-1",
        "endpoint_url": "http://localhost:9000",
        "allow_http": True,
        "anon": False,
        "virtual_hosted_style_request": "1",
        "profile": None,
    }
    assert normalise_options(delta_rs) == normalise_options(s3fs)
    assert normalise_options(normalise_options(s3fs)) == normalise_options(s3fs)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"acces_key_id": PASSWORD}, "did you mean"),
        ({"key": "a", "AWS_ACCESS_KEY_ID": PASSWORD}, "mean the same"),
        ({"region": "a", "aws_region": "b"}, "mean the same"),
        ({"allow_http": "perhaps"}, "true or false"),
        ({"secret": 5}, "has to be text"),
        ({"region": 5}, "has to be text"),
    ],
)
def test_bad_options_are_refused_by_name(options: dict[str, object], message: str) -> None:
    with pytest.raises(DeltaLakeError, match=message) as caught:
        normalise_options(options)
    assert caught.value.kind is DeltaLakeErrorKind.INVALID_ARGUMENT
    assert PASSWORD not in repr((caught.value.message, caught.value.facts))


def test_credentials_are_neither_shown_nor_pickled() -> None:
    spec = StoreSpec("s3a://bucket/table/", {"key": "AKIAEXAMPLE", "secret": PASSWORD})
    assert "AKIAEXAMPLE" not in repr(spec)
    assert PASSWORD not in repr(spec)
    pickled = pickle.dumps(spec)
    assert b"AKIAEXAMPLE" not in pickled
    assert PASSWORD.encode() not in pickled
    copy = pickle.loads(pickled)
    assert copy == spec
    assert hash(copy) == hash(spec)
    assert {secret.reveal() for secret in copy.secrets()} == {"AKIAEXAMPLE", PASSWORD}


def test_specs_are_equal_by_place_and_options(tmp_path: Path) -> None:
    assert StoreSpec(f"{tmp_path}/x/../y/") == StoreSpec(f"file://{tmp_path}/y")
    assert StoreSpec("s3a://b/t/") == StoreSpec("S3://b/t")
    assert StoreSpec("s3://b/t", {"key": "a"}) != StoreSpec("s3://b/t", {"key": "b"})
    assert StoreSpec("s3://b/t", {"key": "a"}) == StoreSpec("s3://b/t", {"key": Secret("a")})
    assert StoreSpec("s3://b/t").child("_delta_log").url == "s3://b/t/_delta_log"
    assert StoreSpec("/").child("x").url == "/x"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "gs://bucket/t",
        "s3://",
        f"s3://id:{PASSWORD}@bucket/t",
        "s3://id:x@bucket",
        "deltasql://x",
    ],
)
def test_unusable_places_are_refused(url: str) -> None:
    with pytest.raises(DeltaLakeError) as caught:
        StoreSpec(url)
    assert caught.value.kind is DeltaLakeErrorKind.INVALID_ARGUMENT
    assert PASSWORD not in caught.value.message
