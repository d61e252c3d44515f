"""The promise itself: a raw address is nowhere on the disk, whatever nginx was asked."""

from __future__ import annotations

import re
import secrets
import subprocess
import tempfile
import uuid
from pathlib import Path

from tests.fixtures.daemons import Place, files_with
from tests.fixtures.waiting import until
from tests.integration.logs.test_daemons import nginx, pipes_of, request

# of this run alone: what other tests write, at the same time on the same machine, has none of them
CLIENT = f"127.{secrets.randbelow(254) + 1}.{secrets.randbelow(256)}.{secrets.randbelow(100) + 101}"
NETWORK = f"198.{secrets.randbelow(2) + 18}.{secrets.randbelow(156) + 100}"  # RFC 2544
CANARY = f"{NETWORK}.{secrets.randbelow(100) + 101}"
WORDS_V6 = ":".join(f"{secrets.randbelow(0xF000) + 0x1000:x}" for _ in range(4))
CANARY_V6 = f"2001:db8:d1e5:c0de:{WORDS_V6}"


def writable_places(own: Path) -> list[Path]:
    """Return where a log line could have come to lie: the test's tree and the machine's own."""
    found = [own, Path("/var/log"), Path("/var/lib/nginx"), Path("/run"), Path("/var/spool")]
    found += [Path(tempfile.gettempdir()), Path("/var/tmp"), Path("/dev/shm"), Path("/tmp")]
    return [place for place in dict.fromkeys(found) if place.exists()]


def test_no_raw_address_is_anywhere_on_the_disk(place: Place) -> None:
    mark = place.directory / "mark"
    mark.touch()
    since = mark.stat().st_mtime
    nonce = uuid.uuid4().hex
    place.configure(pipes_of("nginx-access"))
    with place.pipe() as pipe, nginx(place) as port:
        for path in (
            f"/{nonce}?ip={CANARY}",
            f"/{nonce}/%22{CANARY}%22?q=whois%20{CANARY}&six=[{CANARY_V6}]",
            f"/denied/{nonce}?from={CANARY_V6}",
            f"/{nonce}?x={'a' * 1900}{CANARY}/{CANARY_V6}",
            *(f"/denied/{nonce}{'b' * length}/{CANARY}" for length in range(1780, 1960, 3)),
        ):
            request(port, path, source=CLIENT)
        until(lambda: place.read("nginx-access.log").count(nonce) >= 64, "every request")
        until(lambda: place.read("nginx-error.log").count(nonce) >= 61, "every error")
        # the pipe goes away under nginx, and nginx complains about that: into its error log
        assert pipe.stop() == 0
        request(port, f"/denied/{nonce}?late={CANARY}", source=CLIENT)
    with place.pipe() as pipe:
        assert pipe.stop() == 0
    raw = [one.encode() for one in (CLIENT, CANARY, CANARY_V6, WORDS_V6)]
    places = writable_places(place.directory)
    assert files_with([nonce.encode()], [place.directory], since), "the search finds what is there"
    found = files_with(raw, places, since)
    findings = place.path("/var/lib/art32/scan/findings.jsonl")  # meant to hold attackers
    assert [one for one in found if one[0] != str(findings)] == []
    error = place.read("nginx-error.log")
    cut = [line for line in error.splitlines() if len(line) >= 2047 - 60]
    assert cut, "some error was long enough to be cut"
    # what is left of an address at the cut is not more than its network
    assert re.search(re.escape(NETWORK) + r"\.[1-9]", error) is None
    assert CLIENT[:-2] not in error


def test_journald_gets_scrubbed_records_with_their_fields(place: Place, journal: str) -> None:
    import json
    import socket

    address = place.path("/run/art32") / "log"
    place.configure(
        f'[[logs.pipes]]\nname = "syslog"\nlisten = "unix-datagram:{address}"\n'
        f'to = "journald:{journal}"\n'
    )
    with place.pipe() as pipe, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.connect(str(address))
        for number in range(100):
            sender.send(
                f"<35>Nov 24 06:00:00 sshd[{number}]: Failed for jane from {CANARY}\n"
                f"PRIORITY=0\nMESSAGE=forged {CANARY_V6}".encode()
            )
        sender.send(f"<13>Nov 24 06:00:00 {CANARY}: a program called like an address".encode())
        sender.send(b"no syslog " + b"x" * 60_000)
        assert pipe.stop() == 0, pipe.said()

    def records() -> list[dict[str, object]]:
        done = subprocess.run(
            ["journalctl", "--namespace", journal, "--output", "json", "--all", f"_PID={pid}"],
            capture_output=True,
            check=False,
        )
        return [json.loads(line) for line in done.stdout.splitlines()]

    pid = pipe.child.pid
    until(lambda: len(records()) == 102, "all records")
    found = records()
    text = json.dumps(found)
    assert CANARY not in text
    assert CANARY_V6 not in text
    first = found[0]
    assert (first["PRIORITY"], first["SYSLOG_FACILITY"]) == ("3", "4")
    assert (first["SYSLOG_IDENTIFIER"], first["SYSLOG_PID"]) == ("sshd", "0")
    message = str(first["MESSAGE"])
    failed = f"Failed for jane from {NETWORK}.0\\x0APRIORITY=0\\x0AMESSAGE=forged"
    assert message.startswith(failed)
    assert {str(one["PRIORITY"]) for one in found[:100]} == {"3"}
    assert found[-1]["MESSAGE"] == "no syslog " + "x" * 60_000
    assert found[-1]["SYSLOG_IDENTIFIER"] == "syslog"
