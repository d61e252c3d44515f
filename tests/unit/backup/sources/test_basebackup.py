"""Restoring the files of a base backup."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agent import clock
from agent.backup.sources import CHUNK, RestoreRequest
from agent.backup.sources import basebackup as plugin
from agent.config.sources import BaseBackupSource
from agent.errors import Art32Error, Code
from tests.fixtures.databases import PostgreSQLServer


def test_a_file_of_a_time_to_come_is_restored_and_a_cut_archive_is_not(
    archiving_postgresql: PostgreSQLServer, tmp_path: Path
) -> None:
    server = archiving_postgresql
    source = BaseBackupSource(
        kind="basebackup", name="server", host=str(server.socket), user="replicator"
    )
    version = server.socket / "data" / "PG_VERSION"
    before = version.stat()
    tomorrow = int(clock.now().timestamp()) + 86400
    os.utime(version, (tomorrow, tomorrow))
    try:
        with plugin.dump(source, "") as dump:
            data = b"".join(iter(dump.read, b""))
            facts = dump.finish().facts
    finally:
        os.utime(version, ns=(before.st_atime_ns, before.st_mtime_ns))

    target = tmp_path / "server"
    pieces = (data[at : at + CHUNK] for at in range(0, len(data), CHUNK))
    plugin.restore(pieces, RestoreRequest(str(target), facts))
    assert (target / "PG_VERSION").stat().st_mtime == tomorrow

    with pytest.raises(Art32Error) as caught:
        plugin.restore(iter([data[:100_000]]), RestoreRequest(str(tmp_path / "cut"), facts))
    assert caught.value.code is Code.TARGET_FAILED
    assert "`tar` could not unpack" in caught.value.sentence
    assert not (tmp_path / "cut").exists()
