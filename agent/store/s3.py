"""The S3 store: single PUTs with a checksum and `If-None-Match`, own retries, oldest versions.

AWS and whatever speaks its protocol. Of every name the *oldest* version counts, also when a
delete marker lies above it: a writer that may add versions can then neither change nor hide
what was stored.
"""

from __future__ import annotations

import base64
import binascii
import threading
from collections.abc import Callable, Iterator, MutableSequence, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

from agent import clock
from agent.config.model import S3Store
from agent.errors import Art32Error, Code
from agent.store import (
    Bytes,
    Deletion,
    Store,
    StoredObject,
    StoreFacts,
    names,
    retry,
    s3_client,
    s3_errors,
)
from agent.store.s3_body import body_of
from agent.store.s3_versions import NOT_ALLOWED, NOT_OFFERED, Listing, Version

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_READ_BYTES = 1 << 20
_NOT_THERE = frozenset({"NoSuchKey", "NoSuchVersion", "404"})

Result = TypeVar("Result")


class S3(Store):
    """A bucket as a store. Nothing is contacted before the first call."""

    def __init__(self, config: S3Store) -> None:
        self._config = config
        self._bucket = config.bucket
        self._base = f"{config.prefix}/" if config.prefix else ""
        self._lock = threading.Lock()
        self._client: S3Client | None = None
        self._listing = Listing(lambda: self.client, config.bucket, self._retried)

    @property
    def address(self) -> str:
        return f"s3://{self._bucket}/{self._base}".rstrip("/")

    @property
    def bucket(self) -> str:
        return self._bucket

    @property
    def client(self) -> S3Client:
        """The SDK's client, made at first use; safe between threads."""
        with self._lock:
            if self._client is None:
                self._client = s3_client.build(self._config)
            return self._client

    def key(self, name: str) -> str:
        """Return the key of an object; raise SUSPECT when the name is no proper one."""
        return self._base + names.check(name)

    def put(self, name: str, data: Bytes, *, sha256: str) -> None:
        """Store an object with one PUT that the server checks twice: signature and checksum.

        Raise OBJECT_EXISTS when the name is taken, CORRUPT when the bytes are not those of
        `sha256`.
        """
        self.put_version(name, data, sha256=sha256)

    def put_version(self, name: str, data: Bytes, *, sha256: str) -> str | None:
        """Do what `put` does and return the version that it made, None when that is not known."""
        key = self.key(name)
        try:
            checksum = base64.b64encode(bytes.fromhex(sha256)).decode("ascii")
        except ValueError as error:
            raise Art32Error(Code.DEFECT, "a hash must be given in hexadecimal") from error

        def send(stored_perhaps: bool) -> str | None:
            try:
                answer = self.client.put_object(
                    Bucket=self._bucket,
                    Key=key,
                    Body=body_of(data),
                    ContentLength=memoryview(data).nbytes,
                    ChecksumAlgorithm="SHA256",  # a bucket with default locks asks for it
                    ChecksumSHA256=checksum,
                    IfNoneMatch="*",
                )
            except Exception as failure:
                if s3_errors.status_of(failure) != 412:
                    raise
                if not stored_perhaps:
                    raise Art32Error(
                        Code.OBJECT_EXISTS, f"`{name}` is in the store already"
                    ) from failure
                return None
            return answer.get("VersionId")

        return self._retried(send, f"put of `{name}`")

    def list(self, prefix: str = "") -> Iterator[StoredObject]:
        """Yield the oldest version of each name, in order of the names, a page at a time.

        Where versions cannot be listed, or the server knows none, yield the objects as they are.
        """
        oldest: Version | None = None
        for version in self._listing.versions(self._base + prefix):
            if version.marker:
                continue
            if oldest is not None and version.key != oldest.key:
                yield from self._shown(oldest)
                oldest = None
            if oldest is None or version.stored_at <= oldest.stored_at:
                oldest = version
        if oldest is not None:
            yield from self._shown(oldest)

    def get_into(self, name: str, target: memoryview) -> int:
        reference = self._oldest(name)

        def fetch(_: bool) -> int:
            answer = self.client.get_object(Bucket=self._bucket, **reference)
            with answer["Body"] as body:
                announced: int = answer["ContentLength"]
                if announced > len(target):
                    raise Art32Error(
                        Code.CORRUPT,
                        f"`{name}` is larger than the {len(target)} bytes it may have",
                    )
                length = 0
                while length < announced and (
                    piece := body.read(min(_READ_BYTES, announced - length))
                ):
                    target[length : length + len(piece)] = piece
                    length += len(piece)
                if length < announced:
                    raise ConnectionError(f"{announced - length} bytes of an answer are missing")
            return length

        return self._retried(fetch, f"get of `{name}`", missing=name)

    def checksum(self, name: str) -> str | None:
        reference = self._oldest(name)
        answer = self._retried(
            lambda _: self.client.head_object(
                Bucket=self._bucket, ChecksumMode="ENABLED", **reference
            ),
            f"head of `{name}`",
            missing=name,
        )
        try:
            digest = base64.b64decode(answer.get("ChecksumSHA256", ""), validate=True)
        except binascii.Error:  # of a multipart upload: a hash of hashes, useless here
            return None
        return digest.hex() if len(digest) == 32 else None

    def delete(self, name: str) -> Deletion:
        """Delete every version and delete marker of a name, then look whether they are gone.

        RETAINED when a lock keeps one of them. Raise STORE_REFUSED without the right to delete or
        to list versions: a delete that only adds a marker would erase nothing.
        """
        key = self.key(name)
        found = self._all_of(key)
        if not found:
            return Deletion.ABSENT
        for version in sorted(found, key=lambda one: (one.marker, not one.latest)):
            if not self._delete_version(name, version):
                return Deletion.RETAINED
        if any(not version.marker for version in self._all_of(key)):
            raise Art32Error(
                Code.STORE_FAILED,
                f"`{name}` is still in the store after it was deleted",
                hint="somebody writes it at the same time, or the server does not keep its word",
            )
        return Deletion.DELETED

    def now(self) -> datetime:
        """Return the Date header of an answer, to the second; a refusal has one as well."""

        def ask(_: bool) -> datetime:
            try:
                answer: Any = self.client.list_objects_v2(Bucket=self._bucket, MaxKeys=1)
            except Exception as failure:
                answer = getattr(failure, "response", None)
                if not 400 <= s3_errors.status_of(failure) < 500:
                    raise
            moment = s3_errors.date_of(answer["ResponseMetadata"])
            if moment is None:
                raise Art32Error(
                    Code.STORE_FAILED,
                    f"the store `{self._bucket}` does not say what time it is",
                    hint="an answer needs a Date header: look at the proxy in between",
                )
            return moment

        return self._retried(ask, "a question for the time")

    def facts(self) -> StoreFacts:
        """Return what the bucket says of versions and of its default lock."""
        notes: MutableSequence[str] = []
        versioned: bool | None = None
        answer = self._asked(lambda: self.client.get_bucket_versioning(Bucket=self._bucket))
        if answer is None:
            notes.append("this identity may not ask whether the bucket keeps versions")
        else:
            versioned = answer.get("Status") == "Enabled"
            if not versioned:
                notes.append("the bucket keeps no versions: whoever overwrites, destroys")
            elif (
                self._asked(
                    lambda: self.client.list_object_versions(Bucket=self._bucket, MaxKeys=1)
                )
                is None
            ):
                notes.append("this identity may not list versions: it reads the newest of a name")
        days, mode = self._default_lock(notes)
        return StoreFacts(versioned, days, mode, tuple(notes))

    def _default_lock(self, notes: MutableSequence[str]) -> tuple[int | None, str | None]:
        answer = self._asked(
            lambda: self.client.get_object_lock_configuration(Bucket=self._bucket),
            nothing=("ObjectLockConfigurationNotFoundError", "404"),
        )
        if answer is None:
            notes.append("this identity may not ask whether the bucket locks what it stores")
            return None, None
        rule = answer.get("ObjectLockConfiguration", {}).get("Rule", {}).get("DefaultRetention", {})
        days = int(rule.get("Days", 0)) + 365 * int(rule.get("Years", 0))
        if not days:
            notes.append("the bucket has no default retention: what is stored can be deleted")
        return days, rule.get("Mode")

    def answer(self, request: Callable[[S3Client], Any]) -> dict[str, Any]:
        """Return the server's answer to a request of any kind, a refusal (4xx) too."""

        def ask(_: bool) -> dict[str, Any]:
            try:
                return dict(request(self.client))
            except Exception as failure:
                retryable = s3_errors.classify(failure, self._config, what="a probe").retryable
                refusal = getattr(failure, "response", None)
                if retryable or refusal is None:
                    raise
                return dict(refusal)

        return self._retried(ask, "a probe")

    def _asked(
        self, question: Callable[[], Any], *, nothing: tuple[str, ...] = ()
    ) -> dict[str, Any] | None:
        """Return an answer, {} when there is nothing of the kind, None when it may not be asked."""

        def ask(_: bool) -> dict[str, Any] | None:
            try:
                return dict(question())
            except Exception as failure:
                code = s3_errors.code_of(failure)
                if code in nothing:
                    return {}
                if code in NOT_OFFERED | NOT_ALLOWED:
                    return None
                raise

        return self._retried(ask, "a question about the bucket")

    def _retried(
        self, action: Callable[[bool], Result], what: str, *, missing: str | None = None
    ) -> Result:
        def classify(failure: Exception) -> retry.Trouble:
            if missing is not None and s3_errors.code_of(failure) in _NOT_THERE:
                return retry.Trouble(self._missing(missing))
            return s3_errors.classify(failure, self._config, what=what)

        return retry.call(action, attempts=self._config.attempts, classify=classify)

    def _missing(self, name: str) -> Art32Error:
        return Art32Error(Code.OBJECT_MISSING, f"`{name}` is not in the store `{self.address}`")

    def _shown(self, version: Version) -> Iterator[StoredObject]:
        name = version.key.removeprefix(self._base)
        if names.is_valid(name):
            yield StoredObject(name, version.size, version.stored_at)

    def _all_of(self, key: str, *, fall_back: bool = False) -> Sequence[Version]:
        """Return all versions and markers of one key, newest first."""
        found = []
        for version in self._listing.versions(key, fall_back=fall_back):
            if version.key != key:  # keys come in order, and no other sorts before its prefix
                break
            found.append(version)
        return found

    def _oldest(self, name: str) -> dict[str, Any]:
        data = [one for one in self._all_of(self.key(name), fall_back=True) if not one.marker]
        if not data:
            raise self._missing(name)
        oldest = data[0]
        for version in data:
            if version.stored_at <= oldest.stored_at:
                oldest = version
        return oldest.reference

    def _delete_version(self, name: str, version: Version) -> bool:
        """Delete one version; return False when a lock keeps it."""

        def remove(_: bool) -> bool:
            try:
                self.client.delete_object(Bucket=self._bucket, **version.reference)
            except Exception as failure:
                if s3_errors.code_of(failure) in _NOT_THERE:
                    return True
                if s3_errors.status_of(failure) in (400, 403, 409) and self._is_locked(version):
                    return False
                raise
            return True

        return self._retried(remove, f"delete of `{name}`")

    def _is_locked(self, version: Version) -> bool:
        """Say whether a lock is why a delete was refused; a missing right looks the same."""
        retention = self._asked(
            lambda: self.client.get_object_retention(Bucket=self._bucket, **version.reference),
            nothing=("NoSuchObjectLockConfiguration", "404", "InvalidRequest"),
        )
        until = (retention or {}).get("Retention", {}).get("RetainUntilDate")
        if until is not None and until.astimezone(UTC) > clock.now():
            return True
        hold = self._asked(
            lambda: self.client.get_object_legal_hold(Bucket=self._bucket, **version.reference),
            nothing=("NoSuchObjectLockConfiguration", "404", "InvalidRequest"),
        )
        return bool((hold or {}).get("LegalHold", {}).get("Status") == "ON")
