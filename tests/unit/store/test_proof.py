"""The proof that a writer can only write, against identities that can do more or less."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from agent.config.model import DirectoryStore
from agent.errors import Art32Error, Code
from agent.store import Deletion, open_store
from agent.store.proof import ProbeResult, prove_write_only
from tests.fixtures.s3 import LOCKED, PLAIN, VERSIONED, S3Server

READS = {"read an object", "ask for an object's head", "list names", "list versions"}
DELETES = {
    "delete a version",
    "delete a version past its lock",
    "delete many at once",
    "delete an object",
}
LOCKS = {"change a lock", "shorten a lock"}


def failed(results: list[ProbeResult]) -> set[str]:
    return {result.action for result in results if not result.ok}


@pytest.mark.parametrize("bucket", [PLAIN, VERSIONED, LOCKED])
def test_a_writer_with_a_policy_of_put_alone_may_only_write(
    seaweedfs: S3Server, bucket: str
) -> None:
    results = prove_write_only(open_store(seaweedfs.config(bucket, "writer")))
    refused = {result.action for result in results if result.ok}
    assert refused >= READS | DELETES | LOCKS
    assert "put a name again" not in failed(results)
    # SeaweedFS 4.48 knows no `s3:if-none-match` in policies: a put without the header goes through
    assert failed(results) == {"overwrite an object"}
    (overwrite,) = [result for result in results if not result.ok]
    assert overwrite.harmless is (bucket != PLAIN)


def test_a_writer_with_the_servers_own_write_action_may_delete_and_the_proof_says_so(
    seaweedfs: S3Server,
) -> None:
    results = prove_write_only(open_store(seaweedfs.config(PLAIN, "loose")))
    assert failed(results) & DELETES
    assert not any(result.harmless for result in results)


def test_a_lock_keeps_what_the_servers_own_write_action_would_delete(seaweedfs: S3Server) -> None:
    config = seaweedfs.config(LOCKED, "loose")
    results = prove_write_only(open_store(config))
    assert not failed(results) & {"delete a version", "delete a version past its lock"}
    allowed = {result.action: result for result in results if not result.ok}
    assert allowed["delete an object"].harmless
    restorer = open_store(config.model_copy(update={"profile": "restorer"}))
    (found,) = restorer.list("probe/")
    assert restorer.get(found.name, limit=100).startswith(b"art32 doctor")


def test_everything_that_an_administrator_may_do_is_found(seaweedfs: S3Server) -> None:
    results = prove_write_only(open_store(seaweedfs.config(LOCKED, "admin")))
    assert failed(results) >= READS | {"overwrite an object", "shorten a lock"}


def test_a_server_that_keeps_no_identities_apart_is_found(moto: S3Server) -> None:
    results = prove_write_only(open_store(moto.config(VERSIONED)))
    assert failed(results) >= READS | DELETES - {"delete a version past its lock"}


def test_an_identity_that_may_not_even_write_is_refused(seaweedfs: S3Server) -> None:
    with pytest.raises(Art32Error) as caught:
        prove_write_only(open_store(seaweedfs.config(PLAIN, "restorer")))
    assert caught.value.code is Code.STORE_REFUSED


def test_a_directory_is_said_to_keep_no_one_apart(tmp_path: Path) -> None:
    (result,) = prove_write_only(open_store(DirectoryStore(kind="directory", path=tmp_path)))
    assert not result.ok
    assert "one person" in result.detail


def test_a_writer_can_back_up_and_nothing_else(seaweedfs: S3Server) -> None:
    config = seaweedfs.config(LOCKED, "writer")
    store = open_store(config)
    store.put("name", b"data", sha256=hashlib.sha256(b"data").hexdigest())
    for action in (
        lambda: list(store.list()),
        lambda: store.get("name", limit=10),
        lambda: store.checksum("name"),
        lambda: store.delete("name"),
    ):
        with pytest.raises(Art32Error) as caught:
            action()
        assert caught.value.code is Code.STORE_REFUSED
    assert store.now().tzinfo is not None
    assert store.facts().versioned is None
    keeper = open_store(config.model_copy(update={"profile": "keeper"}))
    assert keeper.delete("name") is Deletion.RETAINED
