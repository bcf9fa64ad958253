"""Uploads in parts that nobody finishes: their parts are stored, and paid for, and in no listing.

The library takes back one that fails; what is left is of those who gave up or were killed. A
bucket's lifecycle rule (AbortIncompleteMultipartUpload) does the same where these requests are
denied.
"""

from __future__ import annotations

import logging
from typing import Any

from deltalakedb import logs
from deltalakedb.error import DeltaLakeError
from deltalakedb.redact import redact
from deltalakedb.storage.s3.connection import botocore_client
from deltalakedb.storage.spec import StoreSpec

ONE_REQUEST = 10 << 20
"""Bytes of an object that are put by one request; more of them go in parts."""
_log = logging.getLogger(__name__)


def abort_uploads(spec: StoreSpec, prefix: str, *, before_ms: int | None = None) -> int:
    """Abort uploads whose keys begin with `prefix`; how many.

    `spec`: a store in the bucket. `before_ms`: only those begun before then (Unix epoch);
    without it, only those of the key `prefix` itself. What is denied is logged, no error.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    bucket = spec.url.removeprefix("s3://").partition("/")[0]
    aborted = 0
    try:
        client = botocore_client(spec, bucket)
        pages = client.get_paginator("list_multipart_uploads").paginate(
            Bucket=bucket, Prefix=prefix
        )
        for each in [each for page in pages for each in page.get("Uploads", ())]:
            if each["Key"] == prefix if before_ms is None else _begun(each) < before_ms:
                client.abort_multipart_upload(
                    Bucket=bucket, Key=each["Key"], UploadId=each["UploadId"]
                )
                aborted += 1
    except (BotoCoreError, ClientError, DeltaLakeError) as error:
        told = (
            f"unfinished uploads below s3://{bucket}/{prefix} could not be aborted "
            f"({redact(str(error))}); allow s3:ListBucketMultipartUploads and "
            "s3:AbortMultipartUpload, or give the bucket a rule that aborts them"
        )
        logs.note(_log, logging.INFO, told, step="uploads")
    return aborted


def _begun(upload: dict[str, Any]) -> int:
    return int(upload["Initiated"].timestamp() * 1000)
