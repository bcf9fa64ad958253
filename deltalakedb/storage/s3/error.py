"""What S3's error codes and botocore's exceptions mean for a user."""

from __future__ import annotations

from collections.abc import Iterator

from botocore import exceptions as botocore

from deltalakedb.error import DeltaLakeError, DeltaLakeErrorKind
from deltalakedb.redact import redact

_NOT_FOUND = frozenset({"NoSuchKey", "404", "NotFound"})
_DENIED = frozenset(
    {"AccessDenied", "403", "401", "Forbidden", "AllAccessDisabled", "AccountProblem"}
)
_BAD_CREDENTIALS = frozenset(
    {
        "ExpiredToken",
        "ExpiredTokenException",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "InvalidSecurity",
        "InvalidToken",
        "NotSignedUp",
        "RequestTimeTooSkewed",
        "SignatureDoesNotMatch",
        "TokenRefreshRequired",
        "UnrecognizedClientException",
    }
)
_WRONG_REGION = frozenset(
    {"301", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException"}
    | {"PermanentRedirect"}
)
_NO_CREDENTIALS = (
    botocore.NoCredentialsError,
    botocore.PartialCredentialsError,
    botocore.CredentialRetrievalError,
    botocore.ProfileNotFound,
    botocore.SSOError,
    botocore.NoAuthTokenError,
)
_UNREACHABLE = (
    botocore.ConnectionError,
    botocore.HTTPClientError,
    OSError,
    TimeoutError,
)


def error_code(error: BaseException) -> str:
    """S3's error code (`NoSuchKey`, `412`, …) behind an exception of s3fs, or ""."""
    for each in _chain(error):
        if isinstance(each, botocore.ClientError):
            return str(each.response.get("Error", {}).get("Code", ""))
    return ""


def translate(error: Exception, place: str) -> DeltaLakeError:
    """The error for a user, naming `place` (an s3:// URL), what is wrong and what to do."""
    if isinstance(error, DeltaLakeError):
        return error
    code = error_code(error)
    kind, message = _explain(error, code, place)
    return DeltaLakeError(kind, message, url=redact(place), code=code)


def _explain(error: Exception, code: str, place: str) -> tuple[DeltaLakeErrorKind, str]:
    kinds = DeltaLakeErrorKind
    where = repr(redact(place))
    if code == "NoSuchBucket":
        bucket = place.removeprefix("s3://").partition("/")[0]
        return kinds.NOT_FOUND, (
            f"{where}: the bucket {bucket!r} does not exist at this endpoint. "
            "Check its name, AWS_ENDPOINT_URL and the region."
        )
    if code in _NOT_FOUND:
        return kinds.NOT_FOUND, f"{where} does not exist. Check the path."
    if code in _DENIED:
        return kinds.AUTHENTICATION_ERROR, (
            f"Access to {where} is denied ({code}). Give these credentials s3:GetObject and "
            "s3:ListBucket there (and s3:PutObject to write), or use others."
        )
    if code in _BAD_CREDENTIALS:
        return kinds.AUTHENTICATION_ERROR, (
            f"The credentials for {where} are not valid ({code}). Check AWS_ACCESS_KEY_ID, "
            "AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN (storage options or environment)."
        )
    if any(isinstance(each, _NO_CREDENTIALS) for each in _chain(error)):
        return kinds.AUTHENTICATION_ERROR, (
            f"There are no complete credentials for {where} ({redact(str(error))}). Set "
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (storage options or environment), or "
            "anon=true for a public bucket."
        )
    if code in _WRONG_REGION:
        return kinds.STORAGE_ERROR, (
            f"{where} is in another region ({code}: {redact(str(error))}). "
            "Set AWS_REGION (storage option or environment)."
        )
    if code == "NotImplemented" or code == "501":
        return kinds.STORAGE_ERROR, (
            f"The server of {where} does not support this request: {redact(str(error))}. "
            "Creating files safely needs conditional writes (If-None-Match)."
        )
    if isinstance(error, botocore.ParamValidationError):
        return kinds.INVALID_ARGUMENT, (
            f"{where} is not a valid S3 address. Write s3://bucket/prefix; a bucket's name has "
            "lower-case letters, digits, dots and hyphens."
        )
    reason = redact(str(error)) or type(error).__name__
    if not code and any(isinstance(each, _UNREACHABLE) for each in _chain(error)):
        return kinds.STORAGE_ERROR, (
            f"{where} cannot be reached: {reason}. Check AWS_ENDPOINT_URL (storage option or "
            "environment) and the network."
        )
    return kinds.STORAGE_ERROR, (
        f"A request for {where} failed{f' ({code})' if code else ''}: {reason}. "
        "It was repeated where that helps; try again later."
    )


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or current.__context__
