"""The proof that a writer can only write: it tries everything else, on an object just written."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from agent.store import Store
from agent.store.s3 import S3

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


@dataclass(frozen=True)
class ProbeResult:
    """One thing that was tried: what should happen, what did, and whether that is good.

    `harmless` marks what is not as it should be, though a backup outlives it: versions keep the
    first object, and the first is what a restore reads.
    """

    action: str
    expected: str
    observed: str
    ok: bool
    detail: str = ""
    harmless: bool = False


def prove_write_only(store: Store) -> list[ProbeResult]:
    """Try, with the store's own credentials, everything that a writer must not be able to do.

    Leaves one object of a few bytes under `probe/`, where the store refuses its deletion as it
    should. Raise what `put` raises, and STORE_UNREACHABLE when the store stops answering.
    """
    if isinstance(store, S3):
        return _prove(store)
    return [
        ProbeResult(
            "read, overwrite or delete",
            "refused",
            "allowed",
            False,
            "this store cannot keep writer, keeper and restorer apart: they are one person here",
        )
    ]


def _prove(store: S3) -> list[ProbeResult]:
    name = f"probe/{secrets.token_hex(16)}"
    data = b"art32 doctor: may this host only write? "
    first = store.put_version(name, data, sha256=hashlib.sha256(data).hexdigest())
    bucket: dict[str, Any] = {"Bucket": store.bucket}
    here: dict[str, Any] = {**bucket, "Key": store.key(name)}
    version: dict[str, Any] = {**here, "VersionId": first or "null"}
    other: dict[str, Any] = {**here, "Body": data[::-1]}
    shorter: dict[str, Any] = {
        **here,
        "Retention": {
            "Mode": "GOVERNANCE",
            "RetainUntilDate": store.now() + timedelta(minutes=1),
        },
    }
    many: dict[str, Any] = {**bucket, "Delete": {"Objects": [{"Key": here["Key"]}]}}
    past_lock: dict[str, Any] = {"BypassGovernanceRetention": True}
    probes: list[tuple[str, Callable[[S3Client], Any]]] = [
        ("read an object", lambda client: client.get_object(**here)),
        ("ask for an object's head", lambda client: client.head_object(**here)),
        ("list names", lambda client: client.list_objects_v2(**bucket, MaxKeys=1)),
        ("list versions", lambda client: client.list_object_versions(**bucket, MaxKeys=1)),
        ("put a name again", lambda client: client.put_object(**other, IfNoneMatch="*")),
        ("overwrite an object", lambda client: client.put_object(**other)),
        ("change a lock", lambda client: client.put_object_retention(**shorter)),
        (
            "shorten a lock",
            lambda client: client.put_object_retention(**shorter, **past_lock),
        ),
        ("delete a version", lambda client: client.delete_object(**version)),
        (
            "delete a version past its lock",
            lambda client: client.delete_object(**version, **past_lock),
        ),
        ("delete many at once", lambda client: client.delete_objects(**many)),
        ("delete an object", lambda client: client.delete_object(**here)),
    ]
    return [_judged(action, store.answer(request)) for action, request in probes]


def _judged(action: str, answer: dict[str, Any]) -> ProbeResult:
    status = answer["ResponseMetadata"]["HTTPStatusCode"]
    refused = answer.get("Errors") or [answer.get("Error", {})]
    code = str(refused[0].get("Code", ""))
    if "Body" in answer:
        answer["Body"].close()

    def result(observed: str, ok: bool, detail: str = "", harmless: bool = False) -> ProbeResult:
        return ProbeResult(action, "refused", observed, ok, detail, harmless)

    if code == "AccessDenied" or status in (401, 403, 405, 412, 501):
        return result("refused", ok=True)
    if "lock" in action and status == 400:
        return result("refused", ok=True, detail="there is no lock that could be changed")
    if status >= 400 or code:
        return result("not refused", ok=False, detail=f"the store answered HTTP {status}")
    if action == "overwrite an object" and answer.get("VersionId", "null") != "null":
        detail = "stored beside the first version, which is the one that a restore reads"
        return result("allowed", ok=False, detail=detail, harmless=True)
    if answer.get("DeleteMarker"):
        detail = "a marker lies above the object, which art32 still sees"
        return result("allowed", ok=False, detail=detail, harmless=True)
    return result("allowed", ok=False)
