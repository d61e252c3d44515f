"""The service and its thin clients: what is acknowledged is in the store, and nothing else is."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading

import pytest

from agent.backup.wal import listing
from agent.errors import Code
from agent.wal import client, protocol
from tests.faults.store import PUT_REFUSALS, Fault, FaultStore
from tests.fixtures.daemons import ROOT
from tests.fixtures.waiting import until
from tests.fixtures.wal import SYSTEM, segment
from tests.fixtures.wal_service import World


def test_one_push_ships_what_waits_and_the_next_ones_are_answered_from_its_marks(
    world: World,
) -> None:
    waiting = world.written(3, 4, 5, 6)
    with world.serving():
        assert world.push(waiting[0]) == 0
        until(lambda: len(world.stored()) == 4, "all four are shipped")
    until(lambda: len(list((world.directory / "marks").rglob("0*"))) == 4, "four marks")
    with world.serving():
        assert [world.push(name) for name in waiting] == [0, 0, 0, 0]
    assert world.stored() == waiting
    for number, name in zip((3, 4, 5, 6), waiting, strict=True):
        found = world.found(name)
        assert found is not None
        assert found.content.view == segment(number)[1]


def test_histories_and_labels_are_archived_too(world: World) -> None:
    history, label = "00000002.history", "000000010000000000000003.00000028.backup"
    world.write(history, b"1\t0/3000148\tno recovery target specified\n")
    world.write(label, b"START WAL LOCATION: 0/3000028 (file 000000010000000000000003)\n")
    with world.serving():
        assert (world.push(history), world.push(label)) == (0, 0)
        assert sorted(world.stored()) == sorted([history, label])
        world.write("00000003.history", b"nothing of the kind")
        world.write("000000010000000000000009.00000028.backup", b"nothing of the kind")
        assert world.push("00000003.history") == 14
        assert world.push("000000010000000000000009.00000028.backup") == 15


@pytest.mark.parametrize("code", PUT_REFUSALS)
def test_nothing_is_acknowledged_that_the_store_refused(world: World, code: Code) -> None:
    (name,) = world.written(3)
    world.store = FaultStore(world.archive, Fault(code.label, 1))
    with world.serving():
        status, said = world.call("push", f"pg_wal/{name}")
        assert status == int(code.exit_status)
        assert said.startswith("art32 wal push: error: the store `test` failed")
        assert world.stored() == []
        assert world.push(name) == 0
    assert world.found(name) is not None


def test_a_lost_reply_has_a_segment_stored_twice_and_not_lost(world: World) -> None:
    (name,) = world.written(3)
    world.store = FaultStore(world.archive, Fault("lost-reply", 1))
    with world.serving():
        assert world.push(name) == 13
        assert world.push(name) == 0
    assert world.stored() == [name, name]
    assert world.found(name) is not None


@pytest.mark.parametrize("fails", [1, 2, 3])
def test_a_segment_is_not_stored_before_those_that_come_before_it(world: World, fails: int) -> None:
    waiting = world.written(3, 4, 5, 6)
    world.store = FaultStore(world.archive, Fault("store-failed", fails))
    with world.serving():
        for name in waiting:
            while world.push(name):
                there = world.stored()
                assert there == waiting[: len(there)]
    assert sorted(set(world.stored())) == waiting


def test_another_file_of_a_name_that_was_shipped_is_refused(world: World) -> None:
    (name,) = world.written(3)
    with world.serving():
        assert world.push(name) == 0
        world.write(name, segment(3, salt="other")[1])
        status, said = world.call("push", f"pg_wal/{name}")
        assert status == 14
        assert "two servers have written the same timeline" in said
        assert world.stored() == [name]
        world.write(name, segment(3)[1])  # the same again, with other times
        assert world.push(name) == 0
        assert world.stored() == [name]


@pytest.mark.parametrize(
    "content",
    [b"", b"x" * 100, segment(4)[1], segment(3)[1][:-1], segment(3, system_id=SYSTEM + 1)[1]],
    ids=["empty", "short", "another", "cut", "of another cluster"],
)
def test_a_file_that_is_not_what_its_name_says_is_not_shipped(world: World, content: bytes) -> None:
    name, _ = segment(3)
    world.write(name, content)
    with world.serving():
        assert world.push(name) == 15
    assert world.stored() == []


def test_a_disk_that_takes_no_marks_keeps_nothing_from_being_shipped_and_shipped_once(
    world: World,
) -> None:
    (world.directory / "marks").touch()
    (name,) = world.written(3)
    with world.serving():
        assert (world.push(name), world.push(name)) == (0, 0)
    assert world.stored() == [name]


def test_who_is_not_named_gets_nothing(world: World) -> None:
    (name,) = world.written(3)
    world.users = frozenset({12345})
    with world.serving():
        status, said = world.call("push", f"pg_wal/{name}")
        assert status == 77
        assert "may not ask" in said
        assert world.fetch(name) == 200
    assert world.stored() == []


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (("push",), 2),
        (("push", "a", "b"), 2),
        (("push", "--absent", "3", "pg_wal/x"), 2),
        (("push", "pg_wal/000000010000000000000009"), 15),
        (("fetch",), 200),
        (("fetch", "--absent", "0", "a", "b"), 200),
        (("fetch", "--absent", "126", "a", "b"), 200),
        (("fetch", "--nonsense", "a", "b"), 200),
        (("fetch", "rubbish", "pg_wal/RECOVERYXLOG"), 200),
    ],
)
def test_a_wrong_call_has_a_status_that_loses_nothing(
    world: World, words: tuple[str, ...], status: int
) -> None:
    with world.serving():
        assert world.call(*words)[0] == status


def test_without_a_service_a_push_is_tried_again_and_a_fetch_stops_the_server(
    world: World,
) -> None:
    (name,) = world.written(3)
    assert world.push(name) == 75
    assert world.fetch(name) == 200
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(str(world.address))
        listener.listen(16)

        def hang_up() -> None:
            for _ in range(2):
                connection, _ = listener.accept()
                connection.close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        assert world.push(name) == 75
        assert world.fetch(name) == 200
        thread.join()


@pytest.mark.parametrize(
    "answer", [b"ok", b"", b"absent\nperhaps", b"failed", b"failed\nx\ny", b"\xff\xfe", b"OK"]
)
def test_an_answer_that_is_none_brings_nothing_and_proves_no_absence(
    world: World, answer: bytes
) -> None:
    name, _ = segment(3)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(str(world.address))
        listener.listen(16)

        def reply() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1000)
                connection.send(answer)

        thread = threading.Thread(target=reply)
        thread.start()
        assert world.fetch(name) == 200
        thread.join()
    assert os.listdir(world.data / "pg_wal") == ["archive_status"]


@pytest.mark.parametrize(
    "message",
    [b"\n", b"push", b"push\nx", b"fetch", b"fetch\n../../etc", b"nonsense\nx", b"\xff" * 60000],
)
def test_rubbish_is_answered_and_ends_nothing(world: World, message: bytes) -> None:
    with world.serving():
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as asking:
            asking.connect(str(world.address))
            asking.send(message)
            assert protocol.decode(asking.recv(1000))[0] == protocol.FAILED
        (name,) = world.written(3)
        assert world.push(name) == 0


def test_a_fetch_brings_what_is_there_and_proves_what_is_not(world: World) -> None:
    waiting = world.written(3, 4, 5)
    target = world.data / "pg_wal" / "RECOVERYXLOG"
    with world.serving():
        assert [world.push(name) for name in waiting] == [0, 0, 0]
        for number, name in zip((3, 4, 5), waiting, strict=True):
            assert world.fetch(name) == 0
            assert target.read_bytes() == segment(number)[1]
            target.unlink()
        assert world.fetch(segment(6)[0]) == 1
        assert world.call("fetch", "--absent", "64", segment(6)[0], "pg_wal/x")[0] == 64
        assert world.fetch("00000002.history") == 1
    assert not [one for one in os.listdir(target.parent) if "art32" in one or one == target.name]


def test_a_hole_is_not_the_end(world: World) -> None:
    waiting = world.written(3, 4, 5)
    with world.serving():
        assert [world.push(name) for name in waiting] == [0, 0, 0]
        (hole,) = [
            one for one in listing.entries(world.archive) if one.place.name.text == waiting[1]
        ]
        world.archive.delete(hole.object_name)
        status, said = world.call("fetch", waiting[1], "pg_wal/RECOVERYXLOG")
        assert status == 200
        assert "and it has what comes after it" in said
        assert world.fetch(segment(6)[0]) == 1


def test_an_archive_with_nothing_of_the_cluster_is_the_wrong_one(world: World) -> None:
    with world.serving():
        status, said = world.call("fetch", segment(3)[0], "pg_wal/RECOVERYXLOG")
    assert status == 200
    assert "nothing at all of the cluster" in said


def test_what_is_not_to_be_trusted_is_not_brought_back(world: World) -> None:
    (name,) = world.written(3)
    with world.serving():
        assert world.push(name) == 0
        (entry,) = listing.entries(world.archive)
        path = world.directory / "store" / "wal" / entry.object_name
        data = bytearray(path.read_bytes())
        data[-40] ^= 1
        path.write_bytes(data)
        assert world.fetch(name) == 200
    assert not (world.data / "pg_wal" / "RECOVERYXLOG").exists()


_TRAP = """
import os, signal, sys
strike, count = int(sys.argv[1]), 0
def hook(name, arguments):
    global count
    if name in ("open", "os.rename", "os.remove", "socket.connect", "os.listdir"):
        count += 1
        if count == strike:
            os.kill(os.getpid(), signal.SIGKILL)
from agent.wal import client
sys.addaudithook(hook)
client.main(sys.argv[2:])
"""


def test_a_fetch_killed_anywhere_leaves_its_target_absent_or_whole(world: World) -> None:
    (name,) = world.written(3)
    target = world.data / "pg_wal" / "RECOVERYXLOG"
    kills = 0
    with world.serving():
        assert world.push(name) == 0
        for strike in range(1, 30):
            done = subprocess.run(
                [
                    sys.executable,
                    "-S",
                    "-c",
                    _TRAP,
                    str(strike),
                    "fetch",
                    name,
                    "pg_wal/RECOVERYXLOG",
                ],
                cwd=world.data,
                env={"PYTHONPATH": str(ROOT), "ART32_WAL_SOCKET": str(world.address)},
                check=False,
            )
            assert not target.exists() or target.read_bytes() == segment(3)[1]
            if done.returncode == 0:
                break
            assert done.returncode == -9
            kills += 1
        assert target.read_bytes() == segment(3)[1]
    assert kills >= 4


def test_the_clients_import_the_standard_library_alone_and_little_of_it() -> None:
    program = (
        "import sys\nfrom agent.wal import client\n"
        "print('\\n'.join(sorted(one for one in sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", program],
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = set(done.stdout.split())
    assert {one for one in loaded if one.startswith("agent")} == {
        *("agent", "agent.wal", "agent.wal.client", "agent.wal.protocol"),
    }
    slow = {"click", "pydantic", "json", "typing", "re", "pathlib", "subprocess", "socket", "enum"}
    assert loaded & slow == set()


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (["wal", "push", "x"], ["push", "x"]),
        (["--config", "c", "--output=json", "wal", "fetch", "a", "b"], ["fetch", "a", "b"]),
        (["wal", "push", "--help"], None),
        (["wal", "serve"], None),
        (["--help"], None),
        (["runbook", "show", "wal", "push"], None),
        ([], None),
    ],
)
def test_only_what_is_for_the_clients_goes_to_them(
    arguments: list[str], found: list[str] | None
) -> None:
    assert client.words(arguments) == found
