"""What the keeper knows of all hosts: how old their backups and drills are, what is not right.

Ages go by the store's clock and nobody's word but the pinned signatures'. A host has an age only
when each of its sources has: one that was never backed up, or never drilled, leaves none, and the
alarm takes silence for the worst.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from agent import clock, output
from agent.backup import catalog, history, identity, make
from agent.backup.catalog import Backup, State
from agent.backup.drill import noted, record
from agent.backup.drill.record import Drilled
from agent.config.model import Configuration
from agent.errors import Art32Error, Code, ExitStatus
from agent.health import cloudwatch
from agent.host import listing
from agent.store import open_store


@dataclass(frozen=True)
class Age:
    """The oldest newest good backup, and drill, of a host's sources, in seconds; None when one of
    them has none. `missing` and `undrilled` name those."""

    host: str
    backup: float | None
    drill: float | None
    missing: tuple[str, ...] = ()
    undrilled: tuple[str, ...] = ()


@dataclass(frozen=True)
class Overview:
    """All hosts; how many backups are suspect, how many keys wait to be accepted."""

    hosts: tuple[Age, ...]
    suspect: int
    pending: int
    at: datetime
    notes: tuple[str, ...] = ()


def look(config: Configuration) -> Overview:
    """Return how all hosts stand; raise CONFIG_INVALID when none is configured, and what reading
    the store raises."""
    expected = _expected(config)
    if not expected:
        raise Art32Error(
            Code.CONFIG_INVALID,
            "the configuration names no host whose backups are kept here",
            hint='name them under [service]: hosts = ["web", "db"]',
        )
    store = open_store(config.store)
    now, records = store.now(), list(make.ledger_of(config).records())
    local, known = history.read(records), record.drills(records)
    ages, suspect, unreadable = [], 0, []
    with identity.reader(config) as reader:
        for host, sources in expected.items():
            backups = catalog.read(store, reader, config.store.prefix, host=host)
            suspect += sum(one.state is State.SUSPECT for one in backups)
            unreadable += [
                f"`{one.id}` of `{host}` is {one.state.value}: {one.reason}"
                for one in backups
                if one.state is State.UNREADABLE
            ]
            good = _newest_good(backups, local.accepted)
            drilled = _drilled(noted.last_passed(store, host), host, known)
            ended = {one for one in config.retention.retired if one.startswith(f"{host}/")}
            there = sources | {one.place.source for one in backups}
            wanted = sorted(one for one in there if f"{host}/{one}" not in ended)
            ages.append(_age(host, wanted, good, drilled, now))
        notes = [*reader.notes, *unreadable]
    pending = len(listing.standing(config, count=False).pending) if config.pins.roots else 0
    return Overview(tuple(ages), suspect, pending, clock.now(), tuple(notes))


def _expected(config: Configuration) -> dict[str, set[str]]:
    hosts = {*config.service.hosts, *(signer.host for signer in config.signers)}
    found: dict[str, set[str]] = {host: set() for host in sorted(hosts)}
    for name in config.service.expected:
        host, _, source = name.partition("/")
        found.setdefault(host, set()).add(source)
    return found


def _newest_good(backups: Sequence[Backup], local: Iterable[str]) -> dict[str, datetime]:
    accepted = catalog.accepted_ids(backups, local)
    found: dict[str, datetime] = {}
    for unit in catalog.units(backups):  # in the order in which they were stored
        if unit.good(accepted):
            found[unit.source] = unit.stored_at
    return found


def _drilled(
    found: dict[str, datetime], host: str, known: Iterable[Drilled]
) -> dict[str, datetime]:
    """Return the last passed drills: those of the notes, and those whose records were brought."""
    failed = {one.campaign for one in known if not one.good}
    for one in known:
        if one.host == host and one.campaign not in failed:
            found[one.source] = max(found.get(one.source, one.at), one.at)
    return found


def _age(
    host: str,
    sources: Sequence[str],
    good: Mapping[str, datetime],
    drilled: Mapping[str, datetime],
    now: datetime,
) -> Age:
    def oldest(found: Mapping[str, datetime]) -> float | None:
        if not sources or not set(sources) <= set(found):
            return None
        return max((now - found[one]).total_seconds() for one in sources)

    return Age(
        host,
        oldest(good),
        oldest(drilled),
        tuple(one for one in sources if one not in good),
        tuple(one for one in sources if one not in drilled),
    )


def metrics(found: Overview) -> list[dict[str, Any]]:
    """Return the metrics of `put_metric_data` that the alarms of a stack look at."""
    data: list[dict[str, Any]] = []
    for one in found.hosts:
        for name, value in (("BackupAge", one.backup), ("DrillAge", one.drill)):
            if value is not None:
                of = [{"Name": "Host", "Value": one.host}]
                data.append(
                    {"MetricName": name, "Dimensions": of, "Value": value, "Unit": "Seconds"}
                )
    data.append({"MetricName": "SuspectBackups", "Value": found.suspect, "Unit": "Count"})
    data.append({"MetricName": "PendingHosts", "Value": found.pending, "Unit": "Count"})
    return [{**one, "Timestamp": found.at} for one in data]


def publish(found: Overview, *, namespace: str, region: str, endpoint: str | None = None) -> None:
    """Put the metrics; raise STORE_REFUSED or STORE_UNREACHABLE."""
    cloudwatch.put(metrics(found), namespace=namespace, region=region, endpoint=endpoint)


def answer(config: Configuration, found: Overview) -> output.Answer:
    """Return what to say: status 20 when anything is missing, too old, suspect or waits."""
    rows = [("host", "newest good backup", "last drill that passed")]
    rows += [(one.host, _said(one.backup), _said(one.drill)) for one in found.hosts]
    warnings = [*found.notes]
    for one in found.hosts:
        if one.missing or one.backup is None:
            names = ", ".join(f"`{name}`" for name in one.missing) or "anything"
            warnings.append(f"`{one.host}` has no good backup of {names}")
        elif one.backup >= config.health.backup_fail_hours * 3600:
            warnings.append(f"the newest good backup of `{one.host}` is too old")
        if one.undrilled:
            names = ", ".join(f"`{name}`" for name in one.undrilled)
            warnings.append(f"no drill of `{one.host}` has passed for {names}")
        elif one.drill is not None and one.drill >= config.drill.within_hours * 3600:
            warnings.append(f"the last drill of `{one.host}` is too long ago")
    if found.suspect:
        warnings.append(f"{found.suspect} backups are suspect (art32 backup list --all-hosts)")
    if found.pending:
        warnings.append(f"{found.pending} keys wait to be accepted (art32 host list)")
    data = {
        "hosts": [vars(one) for one in found.hosts],
        "suspect": found.suspect,
        "pending": found.pending,
    }
    status = ExitStatus.WARNINGS if warnings else ExitStatus.OK
    return output.Answer("art32.backup.ages/1", data, output.table(rows), warnings, status)


def _said(seconds: float | None) -> str:
    return "never" if seconds is None else f"{output.duration(max(seconds, 0.0))} ago"
