"""Who can reach whom, as intended: written by hand, compared with what the program asks for.

Rows open connections to columns. A dash is a refusal; what is not in a grid is refused too. That
whoever reaches the internet also reaches the site's public address is in the grids: it is so.
"""

from __future__ import annotations

from typing import Any

import pytest

from infra.build import build
from infra.capture import capture
from infra.plan.reachability import Reachability, evaluate
from infra.plan.read_network import read
from tests.fixtures.stacks import HA, MAIL_SERVER, stack

MANAGED_DATABASE_AND_MAIL = """
            alb      web    db     internet  s3
internet    80,443   -      -      -         -
alb         -        8443   -      -         -
web         80,443   -      5432   80,443    80,443
dumper      80,443   -      5432   80,443    80,443
keeper      80,443   -      -      80,443    80,443
restorer    -        -      5432   -         443
"""

OWN_DATABASE_SERVER = """
            alb      web    db     internet  s3
internet    80,443   -      -      -         -
alb         -        8443   -      -         -
web         80,443   -      5432   80,443    80,443
db          80,443   -      -      80,443    80,443
keeper      80,443   -      -      80,443    80,443
restorer    -        -      5432   -         443
"""

OWN_MAIL_SERVER = """
            alb      web    db     mail   internet     s3
internet    80,443   -      -      -      -            -
alb         -        8443   -      -      -            -
web         80,443   -      5432   587    80,443       80,443
mail        80,443   -      -      -      80,443,587   80,443
dumper      80,443   -      5432   -      80,443       80,443
keeper      80,443   -      -      -      80,443       80,443
restorer    -        -      5432   -      -            443
"""

OWN_DATABASE_AND_MAIL_SERVER = """
            alb      web    db     mail   internet     s3
internet    80,443   -      -      -      -            -
alb         -        8443   -      -      -            -
web         80,443   -      5432   587    80,443       80,443
db          80,443   -      -      -      80,443       80,443
mail        80,443   -      -      -      80,443,587   80,443
keeper      80,443   -      -      -      80,443       80,443
restorer    -        -      5432   -      -            443
"""

MAIL_WITHOUT_SMARTHOST = OWN_MAIL_SERVER.replace("80,443,587", "25,80,443")

WITH_ENDPOINTS = """
            alb      web    db     endpoints  internet  s3
internet    80,443   -      -      -          -         -
alb         -        8443   -      -          -         -
web         80,443   -      5432   443        80,443    80,443
dumper      80,443   -      5432   443        80,443    80,443
keeper      80,443   -      -      443        80,443    80,443
restorer    -        -      5432   443        -         443
"""

FORMS: dict[str, tuple[dict[str, Any], str]] = {
    "managed database, managed mail": ({}, MANAGED_DATABASE_AND_MAIL),
    "own database server": ({"dbForm": "server"}, OWN_DATABASE_SERVER),
    "own mail server": (MAIL_SERVER, OWN_MAIL_SERVER),
    "own database and mail server": (
        {**MAIL_SERVER, "dbForm": "server"},
        OWN_DATABASE_AND_MAIL_SERVER,
    ),
    "mail without a smarthost": (
        {**MAIL_SERVER, "mailDelivery": "direct", "mailPort25Unblocked": True},
        MAIL_WITHOUT_SMARTHOST,
    ),
    "a restorer at work": ({"restorerCount": 1}, WITH_ENDPOINTS),
    "endpoints for all": ({"interfaceEndpoints": "all"}, WITH_ENDPOINTS),
    "three zones": (HA, WITH_ENDPOINTS),
    "a restored database beside the old one": (
        {"dbGenerations": ["g1", "g2=rds:prod-2026-11-23-03-15"], "dbActive": "g2"},
        MANAGED_DATABASE_AND_MAIL,
    ),
}


def reachability(**changes: Any) -> Reachability:
    config = stack("prod", **changes)
    network = read(capture(lambda: build(config), stack="prod"))
    assert network.unread == ()
    return evaluate(network)


def grid(text: str) -> dict[tuple[str, str], str]:
    """Return the ports of each connection that a grid allows."""
    head, *rows = [line.split() for line in text.strip().splitlines()]
    return {
        (row[0], name): ports.replace(",", ", ")
        for row in rows
        for name, ports in zip(head, row[1:], strict=True)
        if ports != "-"
    }


def by_duty(found: Reachability) -> dict[tuple[str, str], set[str]]:
    """Return the ports of each connection; two generations of a database are one duty."""
    ports: dict[tuple[str, str], set[str]] = {}
    for one in found.flows:
        pair = (one.source.partition("-g")[0], one.destination.partition("-g")[0])
        ports.setdefault(pair, set()).add(str(one.ports))
    return ports


@pytest.mark.parametrize("form", FORMS)
def test_the_program_opens_what_is_intended_and_nothing_else(form: str) -> None:
    changes, intended = FORMS[form]
    found = reachability(**changes)
    assert by_duty(found) == {pair: {ports} for pair, ports in grid(intended).items()}
    # nothing that only works in one zone, nothing that one firewall opens and another closes
    assert [one for one in found.flows if one.partly] == []
    assert found.blocked == ()


def test_a_rule_that_is_missing_is_noticed() -> None:
    config = stack("prod")
    whole = capture(lambda: build(config), stack="prod")
    for kind in ("aws:vpc:SecurityGroupIngressRule", "aws:vpc:SecurityGroupEgressRule"):
        for rule in whole.of(kind):
            cut = evaluate(read(whole.without(rule.urn)))
            assert by_duty(cut) != by_duty(evaluate(read(whole))), rule.name
