"""The sections that a data protection officer and an auditor read: personal data, controls."""

from __future__ import annotations

from collections.abc import Sequence

from infra.plan import personal_data as places
from infra.plan.markup import Element, element
from infra.plan.plan import Plan, broken
from infra.plan.sections import code, joined, kind_words, marked
from infra.plan.tables import Row, fold, section, table
from infra.policies import Finding

_PLACES = {
    "aws:backup:Plan": "backup plan",
    "aws:backup:Vault": "backup vault",
    "aws:cloudwatch:LogGroup": "log group",
    "aws:ebs:Volume": "volume",
    "aws:ec2:FlowLog": "flow log",
    "aws:ec2:Instance": "machine",
    "aws:ec2:LaunchTemplate": "machines",
    "aws:rds:Instance": "database",
    "aws:s3:Bucket": "bucket",
    "aws:sesv2:ConfigurationSet": "mail settings",
    "aws:sqs:Queue": "queue",
}


def personal_data(plan: Plan) -> Element:
    """Every place that keeps personal data, for how long, and what ends it."""
    rows = []
    for one in plan.places:
        problems = [element("div", words, class_="bad-text") for words in one.problems]
        rows.append(
            Row(
                [
                    one.what,
                    [f"{_PLACES.get(one.resource.kind, 'place')} {one.resource.name}", problems],
                    [element("div", part) for part in one.keeps.split("; ")],
                    marked(one.ended_by),
                    one.encrypted,
                    code(one.resource.source),
                ],
                "bad" if problems else "",
            )
        )
    region = plan.facts.get("region", "")
    longest = places.longest(plan.places)
    return section(
        "personal-data",
        "What holds personal data, and for how long",
        element(
            "p",
            f"All of it is kept in {region or 'the region of the stack'}, at AWS as a processor"
            f"{_elsewhere(plan)}. When a person's data is erased from the live data, the last copy "
            f"in backups and logs goes after {longest} days, and a day or two for AWS's own daily "
            "clean-up; what lies on a machine's own disk goes with the machine. A restore replays "
            "the erasures. What the application itself sends elsewhere, this page cannot see. What "
            "is kept once per account (findings, records of sessions) belongs to infra/bootstrap.",
        ),
        table(
            "live data first, then by how long it is kept",
            ("what", "where", "kept", "ended by", "encrypted with", "made at"),
            rows,
        ),
    )


def _elsewhere(plan: Plan) -> str:
    others = {
        str(one.get("region"))
        for one in plan.graph.resources
        if one.get("region") and one.get("region") != plan.facts.get("region")
    }
    return f", and in {', '.join(sorted(others))}" if others else ""


def controls(plan: Plan) -> Element:
    """What the rules say: broken ones, exceptions with their reasons, then all that is kept."""
    failed = broken(plan.findings)
    excused = [one for one in plan.findings if one.problem and one.excuse]
    kept: dict[str, list[Finding]] = {}
    for one in plan.findings:
        kept.setdefault(one.rule.id, []).append(one)
    parts: list[object] = []
    if failed:
        parts.append(
            table(
                f"{len(failed)} broken",
                ("resource", "problem", "rule", "serves", "made at"),
                [_broken_row(group) for group in failed],
            )
        )
    else:
        parts.append(element("p", "No rule is broken.", class_="good-text"))
    if excused:
        parts.append(
            table(
                f"{len(excused)} exceptions, each with its reason",
                ("resource", "rule", "what is not kept", "reason", "serves"),
                [
                    Row(
                        [
                            str(f.resource).replace("`", ""),
                            f.rule.title,
                            f.problem,
                            f.excuse,
                            _serves(f),
                        ]
                    )
                    for f in excused
                ],
            )
        )
    held = {name: found for name, found in kept.items() if not any(f.problem for f in found)}
    parts.append(
        fold(
            f"{len(held)} rules kept",
            f"by {sum(len(found) for found in held.values())} resources",
            table(
                "rules without a finding, and at how many resources they looked",
                ("rule", "serves", "resources"),
                [Row([f[0].rule.title, _serves(f[0]), len(f)]) for f in held.values()],
                numbers=(2,),
            ),
        )
    )
    parts.append(
        element(
            "p",
            "A rule kept is no proof of compliance: it shows what the design asks AWS for. ",
            "COMPLIANCE.md has the whole matrix.",
            class_="note",
        )
    )
    return section("controls", "Controls", *parts)


def _broken_row(group: Sequence[Finding]) -> Row:
    first = group[0]
    names = ", ".join(one.resource.name for one in group)
    made_at = joined(list(dict.fromkeys(one.resource.source for one in group)))
    resource = f"{kind_words(first.resource.kind)} {names}"
    return Row([resource, first.problem, first.rule.title, _serves(first), made_at], "bad")


def _serves(one: Finding) -> str:
    words = [f"GDPR {' '.join(one.rule.gdpr)}"] if one.rule.gdpr else []
    words += [f"FSBP {' '.join(one.rule.fsbp)}"] if one.rule.fsbp else []
    words += [f"CIS {' '.join(one.rule.cis)}"] if one.rule.cis else []
    return "; ".join(words)
