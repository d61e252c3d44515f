"""A machine's own firewall, in a network of its own: what it lets in, and who gets credentials."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from infra import host_guard
from tests.fixtures.stacks import MAIL_SERVER, RELEASE, stack
from tests.infra.two_machines import MACHINE, METADATA

ROOT = Path(__file__).parent.parent.parent.parent
PATH = f"{os.environ['PATH']}:/usr/sbin:/sbin"
CONFIG = stack(**MAIL_SERVER, **RELEASE, dbForm="server")
# one peer in each tier, and one from elsewhere
PUBLIC, PRIVATE, DATA, ISOLATED = "10.32.0.10", "10.32.64.10", "10.32.128.10", "10.32.192.10"
OUTSIDE = "203.0.113.9"
PEERS = (PUBLIC, PRIVATE, DATA, ISOLATED, OUTSIDE)
AGENT, STRANGER = "971", "65534"
PASSWD = "root:x:0:0::/root:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n"

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="not root: no network of its own to be had"),
    pytest.mark.skipif(
        not all(shutil.which(one, path=PATH) for one in ("nft", "ip", "unshare", "nsenter")),
        reason="nft, ip, unshare or nsenter is not installed",
    ),
]


def ask(
    duty: str, probes: list[tuple[str, ...]], *, users: tuple[str, ...] = ()
) -> tuple[list[int], list[str]]:
    """Return whether each file was loaded, and the verdict of each probe,
    those outwards first."""
    made = "".join(f"{user}:x:{AGENT}:{AGENT}::/:/bin/false\n" for user in users)
    given = {
        "passwd": PASSWD + made,
        "peers": PEERS,
        "rules": [host_guard.nftables(CONFIG, duty), host_guard.metadata_users(duty)],
        "probes": probes,
    }
    command = ["unshare", "--net", "--mount", sys.executable, "-m", "tests.infra.two_machines"]
    done = subprocess.run(
        command,
        input=json.dumps(given),
        cwd=ROOT,
        env={**os.environ, "PATH": PATH},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.stderr.startswith("unshare: ") or "Operation not permitted" in done.stderr:
        pytest.skip(f"no namespaces may be made here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    return answer["loaded"], answer["verdicts"]


# by hand, from the intended matrix: who may come in on which port
DOORS = {
    "web": {(PUBLIC, 8443)},
    "db": {(PRIVATE, 5432), (ISOLATED, 5432)},
    "mail": {(PRIVATE, 587)},
    "keeper": set(),
    "restorer": set(),
}


@pytest.mark.parametrize("duty", list(DOORS))
def test_a_machine_lets_in_its_peers_and_is_silent_to_all_others(duty: str) -> None:
    ports = (22, 80, 587, 5432, 8443)
    probes: list[tuple[str, ...]] = [
        ("in", "0", peer, MACHINE, str(port)) for peer in PEERS for port in ports
    ]
    loaded, verdicts = ask(duty, probes, users=host_guard.METADATA_USERS[duty])
    assert loaded == [0, 0]
    told = {
        (probe[2], int(probe[4])): verdict for probe, verdict in zip(probes, verdicts, strict=True)
    }
    assert {door for door, verdict in told.items() if verdict == "reached"} == DOORS[duty]
    assert set(told.values()) <= {"reached", "silence"}


METADATA_PROBES: list[tuple[str, ...]] = [
    ("out", user, "", METADATA, "80") for user in ("0", AGENT, STRANGER)
]


def test_the_roles_credentials_are_for_root_and_the_agent_alone() -> None:
    _, verdicts = ask("web", METADATA_PROBES, users=host_guard.METADATA_USERS["web"])
    assert verdicts == ["reached", "reached", "refused"]


def test_without_the_agent_s_users_the_firewall_stands_and_credentials_are_for_root() -> None:
    probes = [*METADATA_PROBES, ("in", "0", OUTSIDE, MACHINE, "8443")]
    loaded, verdicts = ask("web", probes)
    assert loaded[0] == 0
    assert loaded[1] != 0
    assert verdicts == ["reached", "refused", "refused", "silence"]


def test_without_a_firewall_everybody_would_get_through() -> None:
    """The wire itself refuses nobody: silence above is the firewall's."""
    given = {
        "passwd": PASSWD,
        "peers": PEERS,
        "rules": [],
        "probes": [*METADATA_PROBES, ("in", "0", OUTSIDE, MACHINE, "22")],
    }
    command = ["unshare", "--net", "--mount", sys.executable, "-m", "tests.infra.two_machines"]
    done = subprocess.run(
        command, input=json.dumps(given), cwd=ROOT, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        pytest.skip("no network namespace may be made here")
    assert set(json.loads(done.stdout)["verdicts"]) == {"reached"}
