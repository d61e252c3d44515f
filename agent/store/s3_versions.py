"""Listing what a bucket holds: every version of every name, or plain objects where it has none."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from agent.errors import Art32Error, Code
from agent.store import s3_errors

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

NOT_OFFERED = frozenset({"NotImplemented", "MethodNotAllowed", "501", "405"})
NOT_ALLOWED = frozenset({"AccessDenied", "403"})

Result = TypeVar("Result")


class Retried(Protocol):
    """How to make a call: with the store's retries and its errors."""

    def __call__(self, action: Callable[[bool], Result], what: str) -> Result: ...


@dataclass(frozen=True)
class Version:
    """One version of a name, or a delete marker."""

    key: str
    version: str
    latest: bool
    marker: bool
    stored_at: datetime
    size: int

    @property
    def reference(self) -> dict[str, Any]:
        """The arguments that name exactly this version."""
        plain = self.latest and self.version in ("", "null")
        return {"Key": self.key} if plain else {"Key": self.key, "VersionId": self.version}


@dataclass(frozen=True)
class Listing:
    """One bucket, listed a page at a time."""

    client: Callable[[], S3Client]
    bucket: str
    retried: Retried

    def versions(self, prefix: str, *, fall_back: bool = True) -> Iterator[Version]:
        """Yield all versions and delete markers by key, each key's newest first.

        With `fall_back`, where versions may not be listed, yield the plain objects in their place;
        without it, only where the server knows no versions at all.
        """
        marks: dict[str, str] = {}
        while True:
            page = self._page(prefix, marks, fall_back=fall_back)
            if page is None:
                yield from self._plain(prefix)
                return
            yield from _merged(page)
            if not page.get("IsTruncated"):
                return
            marks = self._next(
                marks, KeyMarker=page.get("NextKeyMarker"), Version=page.get("NextVersionIdMarker")
            )

    def _page(
        self, prefix: str, marks: dict[str, str], *, fall_back: bool
    ) -> dict[str, Any] | None:
        arguments: dict[str, Any] = {"Bucket": self.bucket, "Prefix": prefix, **marks}

        def ask(_: bool) -> dict[str, Any] | None:
            try:
                return dict(self.client().list_object_versions(**arguments))
            except Exception as failure:
                code = s3_errors.code_of(failure)
                if not marks and (code in NOT_OFFERED or (fall_back and code in NOT_ALLOWED)):
                    return None
                raise

        return self.retried(ask, "list")

    def _plain(self, prefix: str) -> Iterator[Version]:
        marks: dict[str, str] = {}
        while True:
            page = self._plain_page(prefix, marks)
            for entry in page.get("Contents", []):
                yield _version(entry, latest=True)
            if not page.get("IsTruncated"):
                return
            marks = self._next(marks, ContinuationToken=page.get("NextContinuationToken"))

    def _plain_page(self, prefix: str, marks: dict[str, str]) -> dict[str, Any]:
        arguments: dict[str, Any] = {"Bucket": self.bucket, "Prefix": prefix, **marks}
        return self.retried(lambda _: dict(self.client().list_objects_v2(**arguments)), "list")

    def _next(self, before: dict[str, str], **marks: str | None) -> dict[str, str]:
        """Return where the next page starts; raise STORE_FAILED when it would be this one again."""
        names = {"Version": "VersionIdMarker"}
        found = {names.get(name, name): mark for name, mark in marks.items() if mark}
        if not found or found == before:
            raise Art32Error(
                Code.STORE_FAILED,
                f"the store `{self.bucket}` does not say where its list goes on",
                hint="look at the server's log, and at a proxy in between",
            )
        return found


def _merged(page: dict[str, Any]) -> list[Version]:
    """Return a page's versions and markers in the order of their keys."""
    data = [_version(entry) for entry in page.get("Versions", [])]
    markers = [_version(entry, marker=True) for entry in page.get("DeleteMarkers", [])]
    return sorted([*data, *markers], key=lambda version: version.key)


def _version(entry: dict[str, Any], *, latest: bool = False, marker: bool = False) -> Version:
    return Version(
        entry["Key"],
        entry.get("VersionId", ""),
        entry.get("IsLatest", latest),
        marker,
        entry["LastModified"].astimezone(UTC),
        entry.get("Size", 0),
    )
