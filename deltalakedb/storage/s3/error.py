"""What S3's error codes and obstore's exceptions mean for a user."""

from __future__ import annotations

import re

from obstore.exceptions import BaseError

from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.redact import redact

_NOT_FOUND = frozenset({"NoSuchKey", "404", "NotFound"})
_DENIED = frozenset(
    {"AccessDenied", "403", "401", "Forbidden", "AllAccessDisabled", "AccountProblem"}
)
_EXPIRED = frozenset(
    {"ExpiredToken", "ExpiredTokenException", "InvalidToken", "TokenRefreshRequired"}
    # What is said of keys that were changed for others.
    | {"InvalidAccessKeyId", "InvalidClientTokenId", "SignatureDoesNotMatch"}
    | {"UnrecognizedClientException"}
)
_BAD_CREDENTIALS = _EXPIRED | {"InvalidSecurity", "NotSignedUp", "RequestTimeTooSkewed"}
_WRONG_REGION = frozenset(
    {"301", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"}
    | {"PermanentRedirect"}
)
_CONTENDED = frozenset({"ConditionalRequestConflict", "OperationAborted", "409"})
_PASSING = _CONTENDED | {"RequestTimeout"}
_BROKEN = re.compile("response body error")
_CODE = re.compile(r"<Code>\s*(\w+)\s*</Code>")
_STATUS = re.compile(r"status code: (\d{3})")
# `no_credentials` as it comes back through the library.
_INCOMPLETE = re.compile(r"there are no complete credentials for '[^']*' \((.*?)\); set", re.S)
_UNREACHABLE = re.compile(r"HTTP error|error sending request|onnect|timed out|timeout", re.I)
_REDIRECTED = re.compile(r"without LOCATION|edirect")


def error_code(error: BaseException) -> str:
    """S3's error code (`NoSuchKey`, …), else the answer's status (`412`), else ""."""
    text = str(error)
    found = _CODE.search(text) or _STATUS.search(text)
    if found is not None:
        return found.group(1)
    if isinstance(error, FileNotFoundError):
        return "404"
    return "PermanentRedirect" if _REDIRECTED.search(text) else ""


def is_absent(error: BaseException) -> bool:
    """Whether an object is not there (a missing bucket is an error, where S3 says so)."""
    return error_code(error) in _NOT_FOUND


def has_expired(error: BaseException) -> bool:
    """Whether S3 refused credentials that were good once."""
    return error_code(error) in _EXPIRED


def is_contended(error: BaseException) -> bool:
    """Whether others were at the same name at that moment, so that it isn't known to be taken."""
    return error_code(error) in _CONTENDED


def passes(error: BaseException) -> bool:
    """Whether the same request may do better, of errors that the library doesn't repeat.

    Those are answers that broke off, and some that it takes for final.
    """
    return error_code(error) in _PASSING or (
        isinstance(error, BaseError) and _BROKEN.search(str(error)) is not None
    )


def no_credentials(place: str, reason: str) -> DeltaLakeError:
    """The error for incomplete credentials, or for none."""
    return DeltaLakeError(
        DeltaLakeErrorKind.AUTHENTICATION_ERROR,
        f"there are no complete credentials for {place!r} ({reason}); set "
        "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (storage options or environment), or "
        "anon=true for a public bucket",
        url=place,
    )


def translate(error: Exception, place: str) -> DeltaLakeError:
    """The error for a user, naming `place` (an s3:// URL), what is wrong and what to do."""
    if isinstance(error, DeltaLakeError):
        return error
    if isinstance(error.__cause__, DeltaLakeError):
        return error.__cause__
    incomplete = _INCOMPLETE.search(str(error))
    if incomplete is not None:
        return no_credentials(place, incomplete.group(1))
    code = error_code(error)
    kind, message = _explain(error, code, place)
    return DeltaLakeError(kind, message, url=place, code=code)


def _explain(error: Exception, code: str, place: str) -> tuple[DeltaLakeErrorKind, str]:
    kinds = DeltaLakeErrorKind
    where = repr(place)
    reason = _reason(error)
    if code == "NoSuchBucket":
        bucket = place.removeprefix("s3://").partition("/")[0]
        return kinds.NOT_FOUND, (
            f"{where}: the bucket {bucket!r} does not exist at this endpoint; "
            "check its name, AWS_ENDPOINT_URL and the region"
        )
    if code in _NOT_FOUND:
        return kinds.NOT_FOUND, f"{where} does not exist; check the path"
    if code in _DENIED:
        return kinds.AUTHENTICATION_ERROR, (
            f"access to {where} is denied ({code}); give these credentials s3:GetObject and "
            "s3:ListBucket there (and s3:PutObject and s3:DeleteObject to write), or use others"
        )
    if code in _BAD_CREDENTIALS:
        return kinds.AUTHENTICATION_ERROR, (
            f"the credentials for {where} are not valid ({code}); check AWS_ACCESS_KEY_ID, "
            "AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN (storage options or environment)"
        )
    if code in _WRONG_REGION:
        return kinds.STORAGE_ERROR, (
            f"{where} is in another region ({code}: {reason}); "
            "set AWS_REGION (storage option or environment)"
        )
    if code == "NotImplemented" or code == "501":
        return kinds.STORAGE_ERROR, (
            f"the server of {where} does not support this request: {reason}; "
            "creating files safely needs conditional writes (If-None-Match)"
        )
    if not code and _UNREACHABLE.search(reason):
        return kinds.STORAGE_ERROR, (
            f"{where} cannot be reached: {reason}; check AWS_ENDPOINT_URL (storage option or "
            "environment) and the network"
        )
    return kinds.STORAGE_ERROR, (
        f"a request for {where} failed{f' ({code})' if code else ''}: {reason}; "
        "it was repeated where that helps, try again later"
    )


def _reason(error: Exception) -> str:
    """The library's message without its dump of Rust values."""
    text = (
        str(error).partition("\n\nDebug source")[0]
        if isinstance(error, BaseError | OSError)
        else str(error)
    )
    return redact(" ".join(text.split()))[:500] or type(error).__name__
