"""What doctor and health ask of enrolments: this host's own, and those that wait for a person."""

from __future__ import annotations

from collections.abc import Iterator

from agent import clock, output
from agent.backup.checkup import Finding
from agent.config.model import Configuration, Signing
from agent.crypto import envelope
from agent.errors import Art32Error, ExitStatus
from agent.host import listing, record
from agent.host.record import Enrolment


def published(signing: Signing) -> Enrolment | None:
    """Return what this host has published of its key; None when `host enrol` has not run."""
    try:
        data = signing.enrolment_file.read_bytes()
        found = record.parse(envelope.parse(data, record.KIND).payload)
    except (OSError, ValueError):
        return None
    return found if found.fingerprint == signing.fingerprint else None


def examine(config: Configuration) -> list[Finding]:
    """Return the enrolment of this host, and on a machine that trusts a root how hosts stand."""
    found = [*_own(config)]
    if config.pins.roots:
        try:
            found += _hosts(config)
        except Art32Error as error:
            found.append(
                Finding("pinned hosts", False, error.sentence, error.hint, error.exit_status)
            )
    return found


def _own(config: Configuration) -> Iterator[Finding]:
    if config.signing is None:
        return
    if config.signing.fingerprint is None:
        yield Finding("enrolment", False, "no signing key yet", "art32 host enrol", ExitStatus.KEY)
        return
    enrolment = published(config.signing)
    if enrolment is None:
        yield Finding("enrolment", True, "its key was made by hand: pin it under [[signers]]")
    else:
        yield Finding(
            "enrolment",
            True,
            f"published as {enrolment.identity}; whether it is accepted only a reader can see",
        )


def _hosts(config: Configuration) -> Iterator[Finding]:
    here = listing.standing(config, count=False)
    trusted = here.now.trusted
    if trusted is not None:
        active = sum(one.active for one in trusted.list.hosts)
        yield Finding(
            "pinned hosts",
            trusted.until > clock.now(),
            f"list {trusted.list.serial}, {active} of {len(trusted.list.hosts)} keys sign, good "
            f"until {clock.iso(trusted.until)}",
            "art32 host renew",
            ExitStatus.KEY,
        )
    for text in listing.warnings(here):
        yield Finding("hosts", None, output.plain(text), "art32 host list")
