"""`art32 doctor`: find out now what would fail at night."""

from __future__ import annotations

import click

from agent import output
from agent.cli import Context
from agent.errors import Art32Error, Code, ExitStatus


@click.command()
@click.option(
    "--no-probe",
    is_flag=True,
    help="Leave out the proof, which writes one small object to the store.",
)
@click.option(
    "--only-rights",
    is_flag=True,
    help="Only the proof: it needs the store's credentials and nothing else of this machine.",
)
@click.pass_obj
def command(context: Context, no_probe: bool, only_rights: bool) -> None:
    """Check keys, signers, enrolment, ledger, disk, sources, store, clock, write-ahead log and
    log pipes.

    On a host that backs up it proves that the host can only write.
    """
    if no_probe and only_rights:
        raise Art32Error(Code.USAGE, "`--no-probe` leaves out what `--only-rights` asks for")
    from agent.backup import checkup
    from agent.backup.wal import checkup as wal_checkup
    from agent.host import checkup as host_checkup
    from agent.logs import checkup as logs_checkup
    from agent.logs.pipe import check as pipe_check

    config = context.load()
    if only_rights:
        findings = checkup.rights(config)
    else:
        findings = [
            *checkup.examine(config, probe=not no_probe),
            *wal_checkup.examine(config),
            *host_checkup.examine(config),
            *logs_checkup.examine(config),
            *pipe_check.examine(config),
        ]
    words = {True: "ok", False: "FAIL", None: "warn"}
    rows = [(words[found.good], found.subject, found.detail) for found in findings]
    lines = []
    for line, found in zip(output.table(rows), findings, strict=True):
        lines.append(line)
        if found.hint and found.good is not True:
            lines.append(f"      hint: {found.hint}")
    failed = [found for found in findings if found.good is False]
    warned = [found for found in findings if found.good is None]
    status = failed[0].status if failed else ExitStatus.WARNINGS if warned else ExitStatus.OK
    fine = len(findings) - len(failed) - len(warned)
    lines.append(f"{fine} in order, {len(warned)} to look at, {len(failed)} failed")
    data = [
        {
            "subject": found.subject,
            "result": words[found.good].lower(),
            "detail": found.detail,
            "hint": found.hint,
        }
        for found in findings
    ]
    context.finish(output.Answer("art32.doctor/1", data, lines, status=status))
