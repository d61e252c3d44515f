"""The stacks that the infrastructure's tests build: every profile, form, zone count, generation.

`PAIRS` covers every pair of values at least once (found greedily); the full product is `ALL`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from itertools import combinations, product

from infra.bootstrap.build import build as build_account
from infra.bootstrap.config import PROJECT as ACCOUNT_PROJECT
from infra.bootstrap.config import parse as parse_account
from infra.build import build
from infra.capture import capture
from infra.config import InfraConfig, parse
from infra.graph import Graph

Values = Mapping[str, object]

ACCOUNT = "123456789012"
_BASE: Values = {
    "accountId": ACCOUNT,
    "region": "eu-central-1",
    "amiId": "ami-0a1b2c3d4e5f67890",
    "alarmEmail": "oncall@example.org",
    "webDomain": "app.example.org",
    "mailDomain": "notify.example.org",
    "dnsZoneId": "Z0123456789ABCDEFGHIJ",
    "breakGlassUsers": ["anna", "ben"],
    "release": "1.0.0",
    "rollbar": True,
    "backupRecipients": [f"operations={'89ABCDEF' * 5}", f"escrow={'FEDCBA98' * 5}"],
    "backupRoots": ["01234567" * 5],
    "releaseSha256": "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
}
_VOLUME = "snap-0123456789abcdef0"
DIMENSIONS: Mapping[str, tuple[str, ...]] = {
    "profile": ("small", "standard", "ha"),
    "db": ("rds", "server"),
    "mail": ("ses", "server"),
    "web": ("none", "volume"),
    "zones": ("1", "2", "3"),
    "generation": ("1", "2"),
    "restorer": ("0", "1"),
    "kind": ("lasting", "ephemeral"),
}
Case = tuple[str, ...]


def values(case: Case) -> Values:
    """Return the configuration's values for a case, one word of each dimension."""
    chosen = dict(zip(DIMENSIONS, case, strict=True))
    found: dict[str, object] = {
        **_BASE,
        "profile": chosen["profile"],
        "zones": [f"eu-central-1{letter}" for letter in "abc"[: int(chosen["zones"])]],
        "dbForm": chosen["db"],
        "mailForm": chosen["mail"],
        "webData": chosen["web"],
        "restorerCount": int(chosen["restorer"]),
        "ephemeral": chosen["kind"] == "ephemeral",
    }
    if chosen["profile"] == "ha":
        found["backupCopyRegion"] = "eu-west-3"
    if chosen["web"] == "volume":
        found |= {"webMinimum": 1, "webMaximum": 1}
    if chosen["mail"] == "server":
        found["mailRelayHost"] = "smtp.example.net"
    if chosen["generation"] == "2":
        snapshot = _VOLUME if chosen["db"] == "server" else "art32-test-before-the-incident"
        found |= {"dbGenerations": ["g1", f"g2={snapshot}"], "dbActive": "g2"}
        if chosen["mail"] == "server":
            found |= {"mailGenerations": ["g1", f"g2={_VOLUME}"], "mailActive": "g2"}
        if chosen["web"] == "volume":
            found |= {"webGenerations": ["g1", f"g2={_VOLUME}"], "webActive": "g2"}
    return found


def possible(case: Case) -> bool:
    """Tell whether a combination is one that the configuration accepts."""
    chosen = dict(zip(DIMENSIONS, case, strict=True))
    # a load balancer wants two zones, `ha` refuses a volume that is in one
    return chosen["zones"] != "1" and not (chosen["profile"] == "ha" and chosen["web"] == "volume")


ALL: tuple[Case, ...] = tuple(case for case in product(*DIMENSIONS.values()) if possible(case))


def _pairs(case: Case) -> Iterator[tuple[tuple[int, str], tuple[int, str]]]:
    yield from combinations(enumerate(case), 2)


def _pairwise() -> tuple[Case, ...]:
    missing = {pair for case in ALL for pair in _pairs(case)}
    chosen = []
    while missing:
        best = max(ALL, key=lambda case: len(missing.intersection(_pairs(case))))
        missing -= set(_pairs(best))
        chosen.append(best)
    return tuple(chosen)


PAIRS = _pairwise()
PROFILES: tuple[Case, ...] = (
    ("small", "rds", "ses", "none", "2", "1", "0", "lasting"),
    ("standard", "rds", "ses", "none", "2", "1", "0", "lasting"),
    ("ha", "rds", "ses", "none", "3", "1", "0", "lasting"),
)
LARGEST: Case = ("ha", "rds", "server", "none", "3", "2", "1", "lasting")


def name(case: Case) -> str:
    """Return how a test calls a case."""
    return "-".join(case)


@cache
def config(case: Case, stack: str = "staging") -> InfraConfig:
    """Return the checked configuration of a case."""
    return parse(stack, values(case))


@cache
def graph(case: Case) -> Graph:
    """Return the resources of a case."""
    return capture(lambda: build(config(case)), project="art32", stack="staging")


def named(case: Case, stack: str) -> Graph:
    """Return the resources of a case in a stack of another name."""
    return capture(lambda: build(config(case, stack)), project="art32", stack=stack)


@cache
def bootstrap() -> Graph:
    """Return the resources of the account's own program."""
    values = {"accountId": ACCOUNT, "region": "eu-central-1", "domain": "example.org"}
    account = parse_account(values)
    return capture(lambda: build_account(account), project=ACCOUNT_PROJECT, stack="account")


def extra_graphs() -> list[Graph]:
    """Return what else the program can build, for whoever needs to see every type."""
    return [bootstrap()]
