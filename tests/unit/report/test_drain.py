"""The queue and its way out: bounded, patient, and never in the way of the work."""

from __future__ import annotations

import contextlib
import json
import os
import ssl
import stat
import subprocess
import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from agent import clock, files, report
from agent.config.model import Configuration
from agent.errors import Art32Error, Code
from agent.health.checks import Situation, reports
from agent.health.memory import Memory
from agent.health.result import State
from agent.report import wire
from agent.report.drain import Drained, drain
from agent.report.queue import Queue
from tests.fixtures.rollbar import Rollbar, changed
from tests.fixtures.waiting import until


def run(config: Configuration, *, force: bool = False) -> Drained:
    queue = report.open_queue(config)
    return drain(config, queue, report.open_masker(config, queue), force=force)


def fail(config: Configuration, about: str = "app", sentence: str = "the dump failed") -> bool:
    error = Art32Error(Code.SOURCE_FAILED, sentence)
    return report.failure(config, error, verb="backup run", about=about)


def files_of(config: Configuration) -> list[Path]:
    return sorted((config.state_directory / "report" / "queue").iterdir())


def health(config: Configuration) -> list[tuple[State, str]]:
    situation = Situation(config, Memory(), clock.now())
    return [(one.state, one.detail) for one in reports.look(situation)]


@pytest.fixture
def self_signed(tmp_path: Path) -> Path:
    """A key and a certificate for `localhost` that nobody vouches for, in one file."""
    path = tmp_path / "server.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-nodes", "-days", "2", "-subj", "/CN=localhost", "-keyout", str(path)),
            *("-addext", "subjectAltName=DNS:localhost", "-out", str(tmp_path / "cert.pem")),
        ],
        check=True,
        capture_output=True,
    )
    path.write_text(path.read_text() + (tmp_path / "cert.pem").read_text())
    return path


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own with no block left."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a file system")
    try:
        (place / "state" / "report" / "queue").mkdir(parents=True)
        with contextlib.suppress(OSError):
            (place / "state" / "filler").write_bytes(b"x" * (1 << 20))
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def test_what_waits_is_sent_in_order_and_goes(
    reporting: Configuration, rollbar_server: Rollbar
) -> None:
    for name in ("one", "two", "three"):
        assert fail(reporting, name)
    assert run(reporting).sent == 3
    assert [one["body"]["message"]["about"] for one in rollbar_server.items] == [
        "one",
        "two",
        "three",
    ]
    assert files_of(reporting) == []
    ((state, detail),) = health(reporting)
    assert (state, detail.startswith("0 reports wait; last success: 2")) == (State.OK, True)


def test_without_a_token_file_nothing_is_written(reporting: Configuration) -> None:
    silent = changed(reporting, token_file=None)
    assert not fail(silent)
    assert not report.beat(silent, "backup:app")
    assert health(silent) == []
    assert not (reporting.state_directory / "report").exists()


def test_a_persons_slip_is_nobodys_report(reporting: Configuration) -> None:
    for code in (Code.USAGE, Code.INTERRUPTED):
        assert not report.failure(reporting, Art32Error(code, "x"), verb="backup run")


def test_files_and_directories_are_the_owners_alone(reporting: Configuration) -> None:
    fail(reporting)
    for path in [*files_of(reporting), reporting.state_directory / "report" / "key.json"]:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(files_of(reporting)[0].parent.stat().st_mode) == 0o700


def test_where_the_state_is_a_groups_so_are_the_reports(reporting: Configuration) -> None:
    reporting.state_directory.mkdir()
    reporting.state_directory.chmod(0o2770)
    fail(reporting)
    assert stat.S_IMODE(files_of(reporting)[0].stat().st_mode) == 0o660
    assert stat.S_IMODE(files_of(reporting)[0].parent.stat().st_mode) == 0o2770


def test_the_oldest_go_when_there_is_no_room_and_are_counted(
    reporting: Configuration, rollbar_server: Rollbar
) -> None:
    small = changed(reporting, queue_reports=3)
    for number in range(5):
        assert fail(small, f"source-{number}")
    assert len(files_of(small)) == 3
    ((state, detail),) = health(small)
    assert state is State.WARN
    assert "2 were dropped for want of room" in detail
    run(small)
    kept = [one["body"]["message"]["about"] for one in rollbar_server.items]
    assert kept == ["source-2", "source-3", "source-4"]


def test_bytes_are_bounded_too(tmp_path: Path) -> None:
    queue = Queue(tmp_path / "report", most=1000, most_bytes=10_000)
    for _ in range(100):
        queue.put(b"x" * 900)
    assert queue.waiting().size <= 10_000
    assert queue.waiting().count == 11


def test_the_same_again_is_counted_and_told_later(
    reporting: Configuration, rollbar_server: Rollbar, monkeypatch: pytest.MonkeyPatch
) -> None:
    patient = changed(reporting, repeat_hours=6)
    assert [fail(patient) for _ in range(4)] == [True, False, False, False]
    assert fail(patient, "other")
    later = clock.now() + timedelta(hours=7)
    monkeypatch.setattr(clock, "now", lambda: later)
    assert fail(patient)
    run(patient)
    found = [one["body"]["message"] for one in rollbar_server.items]
    assert [one.get("times") for one in found if one["about"] == "app"] == [None, 4]
    assert len({one["fingerprint"] for one in rollbar_server.items}) == 2


@pytest.mark.parametrize(
    ("headers", "least"),
    [
        ({"Retry-After": "900"}, 900),
        ({"X-Rate-Limit-Remaining-Seconds": "300"}, 300),
        ({"Retry-After": "Thu, 01 Jan 1970 00:00:00 GMT"}, 60),
        ({"Retry-After": "soon"}, 60),
        ({"Retry-After": "999999999"}, 6 * 3600),
    ],
)
def test_a_limit_is_kept_as_long_as_the_server_says(
    reporting: Configuration,
    rollbar_server: Rollbar,
    monkeypatch: pytest.MonkeyPatch,
    headers: dict[str, str],
    least: int,
) -> None:
    now = clock.now()
    monkeypatch.setattr(clock, "now", lambda: now)
    fail(reporting)
    rollbar_server.answers = [(429, headers)]
    assert run(reporting).why == "Rollbar answered with 429"
    now += timedelta(seconds=least - 2)
    done = run(reporting)
    assert (done.sent, done.left) == (0, 1)
    assert done.why.startswith("the next try is at ")
    assert len(rollbar_server.requests) == 1
    now += timedelta(seconds=4)
    assert run(reporting).sent == 1


def test_pauses_grow_and_a_success_ends_them(
    reporting: Configuration, rollbar_server: Rollbar, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = clock.now().replace(microsecond=0)
    monkeypatch.setattr(clock, "now", lambda: now)
    fail(reporting)
    rollbar_server.answers = [(503, {})] * 9
    pauses = []
    for _ in range(9):
        assert run(reporting, force=True).left == 1
        until = report.open_queue(reporting).read_counts()["not_before"]
        pauses.append((clock.parse_iso(until) - now).total_seconds())
    assert pauses == [60, 120, 240, 480, 960, 1920, 3600, 3600, 3600]
    assert run(reporting, force=True).sent == 1
    assert "not_before" not in report.open_queue(reporting).read_counts()


def test_a_clock_that_was_set_back_does_not_silence_a_host(
    reporting: Configuration, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail(reporting)
    queue = report.open_queue(reporting)
    with queue.counts() as counts:
        counts["not_before"] = clock.iso(clock.now() + timedelta(days=400))
    assert run(reporting).sent == 1


@pytest.mark.parametrize("status", [400, 413, 422])
def test_what_rollbar_cannot_use_does_not_block_the_rest(
    reporting: Configuration, rollbar_server: Rollbar, status: int
) -> None:
    fail(reporting, "one")
    fail(reporting, "two")
    rollbar_server.answers = [(status, {})]
    done = run(reporting)
    assert (done.sent, done.discarded, done.left) == (1, 1, 0)
    assert len(rollbar_server.requests) == 2


@pytest.mark.parametrize("status", [401, 403])
def test_a_wrong_token_keeps_the_reports_and_is_said(
    reporting: Configuration, rollbar_server: Rollbar, status: int
) -> None:
    fail(reporting)
    rollbar_server.answers = [(status, {})]
    with pytest.raises(Art32Error, match="refuses the access token") as caught:
        run(reporting)
    assert caught.value.code is Code.REPORT_REFUSED
    assert caught.value.runbook == "rollbar-silent"
    assert len(files_of(reporting)) == 1
    assert "tries have failed" in health(reporting)[0][1]


def test_what_others_have_put_into_the_queue_is_not_trusted(
    reporting: Configuration, rollbar_server: Rollbar, tmp_path: Path
) -> None:
    fail(reporting)
    place = files_of(reporting)[0].parent
    (tmp_path / "shadow").write_text('{"root": "secret"}')
    (place / "0-link.json").symlink_to(tmp_path / "shadow")
    (place / "1-rubbish.json").write_bytes(b"\xff\x00")
    (place / "2-deep.json").write_text("[" * 60_000)
    (place / "3-large.json").write_bytes(b" " * 100_000)
    (place / "4-other.json").write_text('{"environment": "production"}')
    os.mkfifo(place / "5-pipe.json")
    assert run(reporting).sent == 1
    assert files_of(reporting) == []
    assert "secret" not in rollbar_server.everything()
    assert (tmp_path / "shadow").exists()


def test_a_server_that_hangs_is_left_after_a_while(
    reporting: Configuration, rollbar_server: Rollbar, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "_WHOLE", 0.3)
    fail(reporting, "one")
    fail(reporting, "two")
    rollbar_server.hang.clear()
    done = run(reporting)
    assert (done.sent, done.left, done.why) == (0, 2, "no answer in time")
    until(lambda: rollbar_server.requests, "the one request, which may be later than that")
    assert len(rollbar_server.requests) == 1


def test_where_nobody_listens_all_of_it_waits(reporting: Configuration) -> None:
    closed = changed(reporting, endpoint="http://127.0.0.1:9/api/1/")
    fail(closed)
    done = run(closed)
    assert (done.left, done.why) == (1, "ConnectionError")


def test_a_certificate_that_nobody_vouches_for_ends_it(
    reporting: Configuration, rollbar_server: Rollbar, tmp_path: Path, self_signed: Path
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(self_signed)
    rollbar_server.server.socket = context.wrap_socket(
        rollbar_server.server.socket, server_side=True, do_handshake_on_connect=True
    )
    port = rollbar_server.server.server_port
    distrusting = changed(reporting, endpoint=f"https://localhost:{port}/api/1/")
    fail(distrusting)
    done = run(distrusting)
    assert (done.sent, done.left, done.why) == (0, 1, "the certificate is not trusted")
    trusting = changed(distrusting.model_copy(), ca_file=self_signed)
    assert run(trusting, force=True).sent == 1


def test_a_full_disk_costs_the_report_and_nothing_else(
    reporting: Configuration, full_disk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = reporting.model_copy(update={"state_directory": full_disk / "state"})
    assert not fail(config)
    assert "cannot be reported: No space left on device" in capsys.readouterr().err


def test_several_at_once_lose_nothing(reporting: Configuration) -> None:
    threads = [
        threading.Thread(target=fail, args=(reporting, f"source-{number}")) for number in range(16)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(files_of(reporting)) == 16


def test_two_runs_do_not_send_at_once(reporting: Configuration) -> None:
    fail(reporting)
    queue = report.open_queue(reporting)
    with (
        files.lock(queue.directory / "drain.lock", what="a test"),
        pytest.raises(Art32Error, match="another run"),
    ):
        run(reporting)
    assert run(reporting).sent == 1


@pytest.mark.parametrize("text", ["", "short", "two words here 1234", "x" * 300, "\u00e9" * 32])
def test_what_is_no_token_is_not_sent_anywhere(
    reporting: Configuration, rollbar_server: Rollbar, text: str
) -> None:
    fail(reporting)
    assert reporting.report.token_file is not None
    reporting.report.token_file.write_text(text)
    with pytest.raises(Art32Error) as caught:
        run(reporting)
    assert caught.value.runbook == "rollbar-silent"
    assert text == "" or text not in f"{caught.value.sentence}{caught.value.hint}"
    assert rollbar_server.requests == []


def test_a_token_that_others_can_read_is_refused(reporting: Configuration) -> None:
    fail(reporting)
    assert reporting.report.token_file is not None
    reporting.report.token_file.chmod(0o640)
    with pytest.raises(Art32Error, match="others than its owner"):
        run(reporting)


def test_the_key_of_a_day_is_gone_on_the_next(
    reporting: Configuration, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail(reporting, sentence="no space left: /srv/anna/a")
    key = reporting.state_directory / "report" / "key.json"
    first = json.loads(key.read_bytes())
    tomorrow = clock.now() + timedelta(days=1)
    monkeypatch.setattr(clock, "now", lambda: tomorrow)
    fail(reporting, sentence="no space left: /srv/anna/a")
    second = json.loads(key.read_bytes())
    assert first["key"] != second["key"]
    assert first["day"] < second["day"]
    bodies = [
        json.loads(one.read_bytes())["body"]["message"]["body"] for one in files_of(reporting)
    ]
    assert len(set(bodies)) == 2
