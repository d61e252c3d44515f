"""Signing keys: whether this host has enrolled its own; where a root is trusted, who waits."""

from __future__ import annotations

from collections.abc import Iterator

from agent import clock
from agent.errors import Art32Error
from agent.health.checks import Situation
from agent.health.result import Result, State
from agent.host import listing

_RUNBOOK = "host-enrol"


def look(situation: Situation) -> Iterator[Result]:
    signing = situation.config.signing
    if signing is not None and signing.fingerprint is None:
        yield Result(
            "enrolment",
            State.FAIL,
            "this host has no signing key: it cannot back up",
            hint="art32 host enrol",
            runbook=_RUNBOOK,
        )
    if situation.config.pins.roots:
        yield from _pinned(situation)


def _pinned(situation: Situation) -> Iterator[Result]:
    try:
        here = listing.standing(situation.config, count=False)
    except Art32Error as error:
        yield Result("hosts", State.UNKNOWN, error.sentence, hint=error.hint)
        return
    for one in here.pending:
        yield Result(
            f"host:{one.host}:{one.fingerprint[-8:]}",
            State.FAIL,
            f"`{one.host}` waits to be accepted since {clock.iso(one.stored_at)}: its backups do "
            "not count",
            hint="art32 host list",
            runbook=_RUNBOOK,
        )
    trusted = here.now.trusted
    if here.now.notes or trusted is None:
        detail = "; ".join(here.now.notes)
        yield Result("hosts", State.FAIL, detail, hint="art32 host list", runbook=_RUNBOOK)
        return
    days = (trusted.until - situation.now).total_seconds() / 86400
    soon = trusted.until - situation.now < listing.ENDS_SOON
    yield Result(
        "hosts",
        State.WARN if soon else State.OK,
        f"list {trusted.list.serial} of {len(trusted.list.hosts)} keys is good until "
        f"{clock.iso(trusted.until)}",
        round(days, 1),
        "d",
        hint="art32 host renew" if soon else None,
        runbook=_RUNBOOK if soon else None,
    )
