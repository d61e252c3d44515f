"""The section `[service]`, and which systemd units a configuration asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from agent.config.section import Section

if TYPE_CHECKING:
    from agent.config.model import Configuration


#: The longest time between two runs of a timer, random delay included, in hours, and what a run may
#: take. The tests hold the unit files to it.
LONGEST_HOURS = {
    "art32-backup-": 25.5,
    "art32-drill@": 7 * 24 + 13,
    "art32-logs-rotate": 0.7,
}
_NAMESPACE = r"^[A-Za-z0-9][A-Za-z0-9./_#:-]{0,254}$"


class Service(Section):
    """What systemd is to run on this machine."""

    role: Literal["writer", "keeper", "restorer"] = Field(
        "writer",
        description="Which of the three this machine is: its units depend on it.",
        examples=["writer"],
    )
    hosts: tuple[Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,62}$")], ...] = Field(
        (),
        description="Whose backups the keeper verifies and the restorer rehearses, beside those "
        "under [[signers]]: the list of pinned hosts tells whose keys count, not who should be "
        "there.",
        examples=[["web", "db"]],
    )
    expected: tuple[
        Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,62}/[a-z0-9][a-z0-9_.-]{0,62}$")],
        ...,
    ] = Field(
        (),
        description="Sources, as HOST/SOURCE, that must be there: one of which the store has "
        "nothing is noticed by the keeper too.",
        examples=[["web/uploads", "db/app"]],
    )
    keeper_namespace: str | None = Field(
        None,
        pattern=_NAMESPACE,
        description="Where the keeper's `art32-ages` puts how old the backups and drills of all "
        "hosts are, as metrics. No other machine should have the right to write there.",
        examples=["Art32/prod"],
    )
    cloudwatch_namespace: str | None = Field(
        None,
        pattern=_NAMESPACE,
        description="Where `art32-health-publish` puts the results of health, as metrics.",
        examples=["Art32"],
    )


def units(config: Configuration) -> tuple[str, ...]:
    """Return the units to enable, sorted: a timer for each source, and what the other sections
    ask for. What they start in turn is not named."""
    found = {"art32-health.timer"}
    if config.service.cloudwatch_namespace is not None:
        found.add("art32-health-publish.timer")
    if config.report.token_file is not None or config.report.heartbeats_file is not None:
        found.add("art32-report-drain.timer")
    match config.service.role:
        case "writer":
            found |= _writer(config)
        case "keeper":
            found |= {"art32-prune.timer", "art32-logs-prune.timer"}
            found |= {f"art32-verify@{host}.timer" for host in _hosts(config)}
            if config.service.keeper_namespace is not None:
                found.add("art32-ages.timer")
        case "restorer":
            found |= {f"art32-drill@{host}.timer" for host in _hosts(config)}
            found.add("art32-drill-engine.socket")
    return tuple(sorted(found))


def conflicts(config: Configuration) -> tuple[str, ...]:
    """Return what the configuration demands more often than its timers can do, a sentence each."""
    role, health = config.service.role, config.health
    found = []
    daily = [source.name for source in config.sources if source.every == "day"]
    hours = LONGEST_HOURS["art32-backup-"]
    if role == "writer" and daily and health.backup_fail_hours < hours:
        found.append(
            f"`health.backup_fail_hours` is less than the {hours:g} hours that a daily backup may "
            f'take: `{daily[0]}` needs `every = "6 hours"` or `"hour"`'
        )
    hours = LONGEST_HOURS["art32-logs-rotate"]
    if role == "writer" and config.logs.rotate and health.raw_logs_warn_hours < hours:
        found.append(
            f"`health.raw_logs_warn_hours` is less than the {hours:g} hours between two rotations"
        )
    hours = LONGEST_HOURS["art32-drill@"]
    if role == "restorer" and config.drill.within_hours < hours:
        found.append(
            f"`drill.within_hours` is less than the {hours:g} hours between two weekly drills"
        )
    return tuple(found)


def _hosts(config: Configuration) -> set[str]:
    return {*config.service.hosts, *(signer.host for signer in config.signers)}


def _writer(config: Configuration) -> set[str]:
    logs = config.logs
    found = {f"art32-backup-{source.kind}@{source.name}.timer" for source in config.sources}
    wanted = {
        "art32-wal.socket": config.wal is not None,
        # with the fingerprint in the configuration a person has brought the public half
        "art32-enrol.timer": config.signing is not None and config.signing.fingerprint is None,
        "art32-doctor.timer": config.signing is not None and config.store.kind == "s3",
        "art32-logs-rotate.timer": bool(logs.rotate),
        "art32-logs-pipe.service": bool(logs.pipes),
        "art32-logs-watch.service": bool(logs.watch.files),
        "art32-logs-digest.timer": bool(logs.watch.files or logs.pipes or logs.rotate),
    }
    return found | {unit for unit, asked in wanted.items() if asked}
