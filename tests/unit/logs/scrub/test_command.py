"""The verb as a filter: no configuration, no heavy import, bytes as they are."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from agent.config.logs_scrub import Scrub
from agent.logs.scrub import open_scrubber
from agent.logs.scrub.kernel import trial

LINES = b"203.0.113.77 - frank [24/Nov/2026:06:00:00 +0000] x\r\n\xff bob@example.com"
CANARIES = (b"203.0.113.77", b"frank", b"bob")


def scrub(
    *arguments: str, lines: bytes = LINES, before: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "agent", *before, "logs", "scrub", *arguments],
        input=lines,
        capture_output=True,
        check=False,
        env={**os.environ, "ART32_CONFIG": "/nonexistent/agent.toml"},
    )


def test_it_is_a_filter_that_needs_no_configuration() -> None:
    done = scrub()
    assert done.returncode == 0
    assert done.stdout == (
        b"203.0.113.0 - user-removed [24/Nov/2026:06:00:00 +0000] x\r\n\xff email-removed"
    )
    assert done.stderr == b"2 lines: 1 ipv4, 1 email, 1 user\n"


def test_the_report_is_json_on_request_and_goes_away_on_request() -> None:
    done = scrub(before=("--output", "json"))
    assert json.loads(done.stderr)["data"]["kinds"]["email"] == 1
    assert scrub("--quiet").stderr == b""


def test_a_dry_run_lists_kinds_and_places_and_shows_nothing() -> None:
    done = scrub("--dry-run")
    assert done.stdout.splitlines()[:2] == [b"-:1:1: ipv4, 12 bytes", b"-:1:16: user, 5 bytes"]
    assert not any(canary in done.stdout + done.stderr for canary in CANARIES)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--exempt", "10.0.0.0/33"), b"`--exempt` holds something that is no network"),
        (("--ipv4-prefix", "32"), b"--ipv4-prefix"),
        (("--mode", "hash"), b"`hash` is not one of"),
        (("/nonexistent/access.log",), b"there is no file `/nonexistent/access.log`"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(arguments: tuple[str, ...], sentence: bytes) -> None:
    done = scrub(*arguments)
    assert done.returncode == 2
    assert sentence in done.stderr
    assert b"Traceback" not in done.stderr
    assert done.stdout == b""


def test_a_configuration_that_is_wrong_is_not_passed_over(tmp_path: Path) -> None:
    config = tmp_path / "agent.toml"
    config.write_text("[logs.scrub]\nmode = 'hash'\n")
    done = scrub(before=("--config", str(config)))
    assert (done.returncode, done.stdout) == (78, b"")


def test_an_output_that_takes_no_more_is_one_error() -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "agent", "logs", "scrub"],
            input=LINES,
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert done.returncode == 15
    assert b"Traceback" not in done.stderr


def test_nothing_heavy_is_imported() -> None:
    program = (
        "import json, sys\nfrom agent.cli import main\n"
        "try:\n    main(['logs', 'scrub'])\n"
        "finally:\n    print(json.dumps(sorted(sys.modules)), file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], input=LINES, capture_output=True, check=True
    )
    loaded = set(json.loads(done.stderr.splitlines()[-1]))
    assert loaded & {"boto3", "botocore", "hyperscan", "watchdog", "asyncio", "pydantic"} == set()


HOSTILE = {
    "digits": b"1",
    "hexadecimal digits": b"f",
    "colons": b":",
    "groups": b"a1:",
    "dots": b"1.",
    "dashes": b"1-",
    "quads": b"1.2.3.4-",
    "nibbles": b"a.",
    "signs": b"a@",
    "escapes": b"%2525",
    "addresses glued": b"::1.2.3.4:",
    "names": b"1-2-3-4.a.",
    "headers": b"cookie:x ",
    "schemes": b"basic abcdefgh ",
    "parameters": b"token=",
    "paths": b"/reset/",
    "authorities": b"://",
    "dates": b" [24/Nov/2026:",
    "literals": b"#10.0.0.1",
    "own": b"ip4-removed-",
    "pairs": b"00:1a:",
}


@pytest.mark.parametrize("engine", ["reference", "kernel"])
@pytest.mark.parametrize("what", HOSTILE)
def test_the_time_grows_with_the_length_and_not_faster(what: str, engine: str) -> None:
    if engine == "kernel" and trial() is not None:
        pytest.skip(f"no kernel: {trial()}")
    scrubber = open_scrubber(Scrub(), engine=engine)

    def seconds(length: int) -> float:
        line = HOSTILE[what] * (length // len(HOSTILE[what]))
        begun = time.process_time()
        scrubber.scrub(line)
        return time.process_time() - begun

    short = max(min(seconds(1 << 13) for _ in range(3)), 1e-4)
    # 16 times the length: quadratic would be 256 times the time
    assert min(seconds(1 << 17) for _ in range(3)) < 100 * short


@pytest.mark.slow
@pytest.mark.parametrize("what", ["digits", "hexadecimal digits", "colons", "groups"])
def test_the_reference_takes_a_word_of_a_megabyte(what: str) -> None:
    scrubber = open_scrubber(Scrub(), engine="reference")
    word = HOSTILE[what] * ((1 << 20) // len(HOSTILE[what]))
    assert len(scrubber.scrub(word)) <= len(word)
