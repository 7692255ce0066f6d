"""Builds in a bucket of an S3-compatible store, by boto3 (the extra `s3`).

The name of a file is its digest, which is known when its last byte has come. So a file goes up in parts under a temporary key,
which nobody reads, and is then copied to its own inside the store: the copy appears whole, or not at all. One that fits into a
single part waits in memory and is put under its own key at once.

Only old and plain means of the protocol are used (parts of equal size, Content-MD5, Signature Version 4, no streaming checksums),
since many stores know no others.
"""

import base64
import hashlib
import io
import logging
import re
import secrets
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import cached_property
from typing import Any

import boto3
from boto3.exceptions import Boto3Error
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from portal.config_addresses import Bucket
from portal.storage.interface import INCOMING, SHA256, Away, Incoming, Missing, Store, key

log = logging.getLogger(__name__)

PART_BYTES = 8 << 20
MOST_PARTS = 10_000
# A copy in parts, so that none takes so long that we stop waiting for its answer; one piece may have 5 GB at most.
COPY = TransferConfig(multipart_threshold=64 << 20, multipart_chunksize=64 << 20, use_threads=False)
# Patience, in seconds: to be connected, and for the next bytes of an answer. Then tries in all; "quick" is for what holds others up.
CONNECT_SECONDS, READ_SECONDS, TRIES = 3, 30, 3
QUICK_CONNECT_SECONDS, QUICK_READ_SECONDS = 2, 3
# How often a file is taken up again, in a row, when the store cuts it off before a byte comes.
RESUMES = 3
FAILURES = (BotoCoreError, ClientError, Boto3Error)
_DIGEST_KEY = re.compile(rf"[0-9a-f]{{2}}/[0-9a-f]{{2}}/({SHA256.pattern})")
_GONE = {"404", "NoSuchKey"}


class S3Store(Store):
    """Files in a bucket, below the prefix that its address names. What lies there is the portal's alone.

    `connections` are kept open for as many threads. A `link` lives for `link_seconds`; 0: there are none.
    """

    def __init__(self, bucket: Bucket, *, connections: int = 10, link_seconds: int = 0) -> None:
        self.bucket = bucket
        self._connections = connections
        self._link_seconds = link_seconds

    @cached_property
    def client(self) -> Any:
        """The client for bytes. Made when it is first needed: it costs half a second, and reads credentials."""
        return self._client(CONNECT_SECONDS, READ_SECONDS, TRIES)

    @cached_property
    def _quick(self) -> Any:
        return self._client(QUICK_CONNECT_SECONDS, QUICK_READ_SECONDS, 1)

    def _client(self, connect_seconds: int, read_seconds: int, tries: int) -> Any:
        config = Config(
            connect_timeout=connect_seconds,
            read_timeout=read_seconds,
            retries={"mode": "standard", "total_max_attempts": tries},
            max_pool_connections=self._connections,
            signature_version="s3v4",
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            tcp_keepalive=True,
        )
        with answering():
            # A session of its own: making a client from a shared one is not safe in threads.
            session = boto3.session.Session()
            return session.client("s3", region_name=self.bucket.region, endpoint_url=self.bucket.endpoint, config=config)

    def place(self, name: str) -> dict[str, str]:
        """Return the arguments that name an object to the client; `name` is below the prefix."""
        return {"Bucket": self.bucket.name, "Key": self.bucket.prefix + name}

    def receive(self, limit_bytes: int) -> Incoming:
        """Open a place for a file of at most `limit_bytes`. Raises Away now rather than when gigabytes have come."""
        self.check()
        return _Upload(self, limit_bytes)

    def exists(self, sha256: str) -> bool:
        """Say whether there is a file of this digest. Takes a few seconds at most: it is asked within transactions."""
        return self._age_of(key(sha256)) is not None

    def open(self, sha256: str, first: int = 0, last: int | None = None) -> io.RawIOBase:
        return _Download(self, sha256, first, last)

    def link(self, sha256: str, disposition: str) -> str | None:
        if not self._link_seconds:
            return None
        parameters = {
            **self.place(key(sha256)),
            "ResponseContentDisposition": disposition,
            "ResponseContentType": "application/octet-stream",
            "ResponseCacheControl": "private, no-store",
        }
        with answering():
            return str(self.client.generate_presigned_url("get_object", parameters, self._link_seconds))

    def sweep(self, older_than: datetime) -> int:
        """Remove unfinished uploads and copies, and temporary objects, that were begun before `older_than`; say how many."""
        removed = 0
        for upload in self._pages("list_multipart_uploads", "Uploads", ""):
            if upload["Initiated"] < older_than:
                with answering():
                    self.client.abort_multipart_upload(Bucket=self.bucket.name, Key=upload["Key"], UploadId=upload["UploadId"])
                removed += 1
        return removed + sum(self._remove_if_older(name, older_than) for name in self._names(f"{INCOMING}/", older_than))

    def remove_orphans(self, kept: Collection[str], older_than: datetime) -> int:
        removed = 0
        for name in self._names("", older_than):
            match = _DIGEST_KEY.fullmatch(name)
            if match and match[1] not in kept:
                removed += self._remove_if_older(name, older_than)
        return removed

    def check(self) -> None:
        """Raise Away if the bucket cannot be listed, which is the first thing that wrong credentials cannot do."""
        with answering():
            self._quick.list_objects_v2(Bucket=self.bucket.name, Prefix=self.bucket.prefix, MaxKeys=1)

    def _pages(self, operation: str, field: str, below: str) -> Iterator[dict[str, Any]]:
        with answering():
            for page in self.client.get_paginator(operation).paginate(Bucket=self.bucket.name, Prefix=self.bucket.prefix + below):
                yield from page.get(field, ())

    def _names(self, below: str, older_than: datetime) -> Iterator[str]:
        """Yield the names of objects, below the prefix, that were stored before `older_than`."""
        for found in self._pages("list_objects_v2", "Contents", below):
            if found["LastModified"] < older_than:
                yield found["Key"].removeprefix(self.bucket.prefix)

    def _remove_if_older(self, name: str, older_than: datetime) -> bool:
        """Remove an object. It is asked for its age once more: a long list is old itself when its end is reached."""
        stored_at = self._age_of(name)
        if stored_at is None or stored_at >= older_than:
            return False
        with answering():
            self.client.delete_object(**self.place(name))
        return True

    def _age_of(self, name: str) -> datetime | None:
        """Return when an object was stored, None if there is none."""
        with answering():
            try:
                found: datetime = self._quick.head_object(**self.place(name))["LastModified"]
            except ClientError as error:
                if _code(error) not in _GONE:
                    raise
                return None
            return found


class _Upload(Incoming):
    def __init__(self, store: S3Store, limit_bytes: int) -> None:
        super().__init__(limit_bytes)
        self._store = store
        self._place = store.place(f"{INCOMING}/{secrets.token_hex(16)}")
        self._part_bytes = max(PART_BYTES, -(-limit_bytes // MOST_PARTS))
        self._part = io.BytesIO()
        self._parts: list[dict[str, Any]] = []
        self._upload_id: str | None = None
        self._is_object = False

    def _append(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            taken = rest[: self._part_bytes - self._part.tell()]
            self._part.write(taken)
            rest = rest[len(taken) :]
            if self._part.tell() == self._part_bytes:
                self._send_part()

    def _send_part(self) -> None:
        client = self._store.client
        with answering():
            if self._upload_id is None:
                self._upload_id = client.create_multipart_upload(**self._place)["UploadId"]
            number = len(self._parts) + 1
            answer = client.upload_part(**self._place, UploadId=self._upload_id, PartNumber=number, **self._body())
        self._parts.append({"PartNumber": number, "ETag": answer["ETag"]})
        self._part.seek(0)
        self._part.truncate()

    def _body(self) -> dict[str, Any]:
        """Return the part as the arguments of a request; the store refuses it if it arrives changed."""
        digest = hashlib.md5(self._part.getbuffer(), usedforsecurity=False).digest()
        self._part.seek(0)
        return {"Body": self._part, "ContentMD5": base64.b64encode(digest).decode()}

    def _keep(self, sha256: str) -> None:
        target = self._store.place(key(sha256))
        client = self._store.client
        if self._upload_id is None:
            with answering():
                client.put_object(**target, **self._body())
            return
        if self._part.tell():
            self._send_part()
        with answering():
            client.complete_multipart_upload(**self._place, UploadId=self._upload_id, MultipartUpload={"Parts": self._parts})
            self._is_object = True
            client.copy(self._place, target["Bucket"], target["Key"], Config=COPY)

    def close(self) -> None:
        """Remove what was sent. What cannot be removed now is left to the sweep."""
        self._part.close()
        if self._upload_id is None:
            return
        try:
            if self._is_object:
                self._store.client.delete_object(**self._place)
            else:
                self._store.client.abort_multipart_upload(**self._place, UploadId=self._upload_id)
        except FAILURES as error:
            log.warning("an upload's parts are left for the sweep: %s", error)
        self._upload_id = None


class _Download(io.RawIOBase):
    """Part of an object, read once from its start to its end, and taken up again where the store cut it off.

    That happens to those who read slowly: a store does not wait for them as long as we do.
    """

    def __init__(self, store: S3Store, sha256: str, first: int, last: int | None) -> None:
        super().__init__()
        self._store = store
        self._sha256 = sha256
        self._position = first
        self._last = last
        self._body: Any = None
        self._open()

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        """Return at most `size` bytes, none at the end. Raises Away when they cannot be had after some tries."""
        if self.closed:
            raise ValueError("read of a closed file")
        left = self._left
        for _ in range(RESUMES):
            try:
                data = bytes(self._body.read(left if size < 0 else min(size, left))) if left else b""
            except BotoCoreError as error:
                log.info("an object is taken up again at byte %s: %s", self._position, error)
                self._body.close()
                self._open()
                continue
            self._position += len(data)
            return data
        raise _away()

    @property
    def _left(self) -> int:
        return 0 if self._last is None else self._last + 1 - self._position

    def _open(self) -> None:
        """Ask for the bytes from the position on. What is at hand then is the whole rest, or Missing or Away is raised."""
        whole = self._position == 0 and self._last is None
        asked = {} if whole else {"Range": f"bytes={self._position}-{'' if self._last is None else self._last}"}
        with answering():
            try:
                answer = self._store.client.get_object(**self._store.place(key(self._sha256)), **asked)
            except ClientError as error:
                if _code(error) in {"NoSuchKey", "InvalidRange"}:
                    raise Missing(f"not in storage, or too short: {self._sha256}") from None
                raise
        self._body = answer["Body"]
        if self._last is None:
            self._last = self._position + answer["ContentLength"] - 1
        if answer["ContentLength"] != self._left:
            self.close()
            raise Missing(f"too short in storage: {self._sha256}")

    def close(self) -> None:
        """Let go of the connection. One that still has bytes to come is cut, not read to its end."""
        if self._body is not None:
            self._body.close()
        super().close()


@contextmanager
def answering() -> Iterator[None]:
    """Turn what the store fails with into Away. The log says what it was; that is nobody else's business."""
    try:
        yield
    except FAILURES as error:
        log.warning("the S3 store failed: %s", error)
        raise _away() from error


def _away() -> Away:
    return Away("The place where builds are kept does not answer, so nothing was done. Try again in a minute.")


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))
