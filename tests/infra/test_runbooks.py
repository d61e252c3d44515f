"""What wakes somebody names a page that exists, and a page names all that leads to it."""

from __future__ import annotations

import re
from pathlib import Path

from agent.runbook import library
from tests.infra import cases

CHECKS = Path(__file__).parents[2] / "agent" / "health" / "checks"
# pages that a person finds by what they see: no alarm and no error leads to them
BY_SYMPTOM = {
    *("delete-backups", "delete-person", "drill-on-aws", "personal-data-breach", "pulumi-stuck"),
    "restore-managed-database",
    "restore-to-a-point-in-time-stock-tools",
    *("restore-database-stock-tools", "restore-table", "retire-generation", "verify-evidence"),
}


def alarms() -> dict[str, set[str]]:
    """Return the names of alarms and events by page; `*` stands for duty or generation."""
    duties = "db|dumper|mail|web"
    named: dict[str, set[str]] = {}
    servers = next(case for case in cases.PAIRS if case[1:3] == ("server", "server"))
    for case in (cases.LARGEST, cases.PROFILES[1], servers):
        for resource in cases.graph(case).resources:
            tags = resource.inputs.get("tags") or {}
            if isinstance(tags, dict) and "Runbook" in tags:
                name = re.sub(r"(?<=-)g[0-9]+(?=-|$)", "*", resource.name)
                name = re.sub(rf"^(backup-age|drill-age|flood)-(?:{duties})$", r"\1-*", name)
                named.setdefault(str(tags["Runbook"]), set()).add(name)
    return named


def health() -> dict[str, set[str]]:
    """Return the health checks by the page that they name, as `health:NAME`."""
    named: dict[str, set[str]] = {}
    for path in CHECKS.glob("*.py"):
        for line in path.read_text().splitlines():
            if re.search(r"(?:\brunbook=|\brunbook = |^_RUNBOOK = )", line):
                for page in re.findall(r'"([a-z-]+)"', line):
                    if (library.directory() / f"{page}.md").is_file():
                        named.setdefault(page, set()).add(f"health:{path.stem}")
    return named


def expected_alerts() -> dict[str, set[str]]:
    """Return what the head of each page has to name."""
    pages = {runbook.id for runbook in library.everything()}
    found = {page: alarms().get(page, set()) | health().get(page, set()) for page in pages}
    found["health-red"].add("health")  # where a check names no page of its own
    return found


def test_every_alarm_and_event_names_a_runbook_that_exists() -> None:
    pages = {runbook.id for runbook in library.everything()}
    assert sum(map(len, alarms().values())) > 20
    assert set(alarms()) <= pages


def test_a_page_names_every_alarm_that_leads_to_it_and_no_other() -> None:
    said = {runbook.id: set(runbook.alerts) for runbook in library.everything()}
    assert said == expected_alerts()


def test_a_page_is_reached_by_an_alarm_an_error_or_what_a_person_sees() -> None:
    unreached = {
        runbook.id for runbook in library.everything() if not runbook.alerts and not runbook.errors
    }
    assert unreached <= BY_SYMPTOM


def test_an_overdue_drill_leads_to_the_page_on_drills() -> None:
    graph = cases.graph(cases.LARGEST)
    drills = [one for one in graph.resources if one.inputs.get("metricName") == "DrillAge"]
    assert drills
    assert {one.inputs["tags"]["Runbook"] for one in drills} == {"drill-failed"}
