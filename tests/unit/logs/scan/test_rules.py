from __future__ import annotations

import pytest

from agent.config.logs_scan import Scan
from agent.logs.scan import open_scanner
from agent.logs.scan.addresses import key_of, name_of
from agent.logs.scan.rules import Rule, Sample, load

RULES = load()
SAMPLES = [
    pytest.param(rule, sample, id=f"{rule.id}-{number}")
    for rule in RULES
    for number, sample in enumerate(rule.samples)
]


def whom(text: str) -> str:
    key = key_of(text.removesuffix("/64").encode())
    assert key is not None
    return name_of(key)


@pytest.mark.parametrize("engine", ["hyperscan", "re"])
@pytest.mark.parametrize(("rule", "sample"), SAMPLES)
def test_every_sample_gets_its_verdict(rule: Rule, sample: Sample, engine: str) -> None:
    alone = rule.model_copy(update={"threshold": 1, "distinct": "", "total": None, "after": ""})
    from agent.logs.scan.scanner import Scanner

    scanner = Scanner(Scan.model_validate({"engine": engine}), [alone])
    scanner.feed(sample.line.encode() + b"\n", source="sample")
    found = scanner.findings()
    assert bool(found) == sample.matches
    if sample.matches and sample.address is not None:
        assert [one.who for one in found] == [whom(sample.address)]


def test_a_scanner_without_any_settings_finds_a_brute_force() -> None:
    scanner = open_scanner()
    line = "Nov 24 06:03:0{} web1 sshd[9]: Failed password for root from 203.0.113.7 port 1 ssh2\n"
    scanner.feed("".join(line.format(second) for second in range(5)).encode(), source="auth.log")
    assert [(one.rule, one.who, one.count) for one in scanner.findings()] == [
        ("ssh-failed-login", "203.0.113.7", 5)
    ]
