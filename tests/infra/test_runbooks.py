"""What wakes somebody names a page that exists."""

from __future__ import annotations

from agent.runbook import library
from tests.infra import cases


def test_every_alarm_and_event_names_a_runbook_that_exists() -> None:
    pages = {runbook.id for runbook in library.everything()}
    named: dict[str, str] = {}
    servers = next(case for case in cases.PAIRS if case[1:3] == ("server", "server"))
    for case in (cases.LARGEST, servers):
        for resource in cases.graph(case).resources:
            tags = resource.inputs.get("tags") or {}
            if isinstance(tags, dict) and "Runbook" in tags:
                named[resource.name] = str(tags["Runbook"])
    assert len(named) > 20
    assert {name: page for name, page in named.items() if page not in pages} == {}


def test_an_overdue_drill_leads_to_the_page_on_drills() -> None:
    graph = cases.graph(cases.LARGEST)
    drills = [one for one in graph.resources if one.inputs.get("metricName") == "DrillAge"]
    assert drills
    assert {one.inputs["tags"]["Runbook"] for one in drills} == {"drill-failed"}
