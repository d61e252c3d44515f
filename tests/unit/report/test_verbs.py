"""`art32 report`, heartbeats, and what the command line reports of itself."""

from __future__ import annotations

import json
import os
from datetime import timedelta
from pathlib import Path

import pytest

from agent import clock, report
from agent.cli import _report, main
from agent.config.model import Configuration
from agent.errors import Art32Error, Code, ExitStatus
from agent.report import heartbeat, unit
from agent.report.drain import Drained, drain
from tests.fixtures.rollbar import Rollbar, changed
from tests.fixtures.waiting import until


@pytest.fixture
def agent_toml(reporting: Configuration, tmp_path: Path) -> Path:
    path = tmp_path / "agent.toml"
    path.write_text(
        f'host = "db1"\nstate_directory = "{reporting.state_directory}"\n'
        f'[store]\nkind = "directory"\npath = "{tmp_path}/store"\n'
        f'[report]\ntoken_file = "{reporting.report.token_file}"\n'
        f'endpoint = "{reporting.report.endpoint}"\n'
    )
    return path


@pytest.fixture(autouse=True)
def as_a_unit(monkeypatch: pytest.MonkeyPatch) -> None:
    """As under systemd: no process of its own is started."""
    monkeypatch.setenv("INVOCATION_ID", "0123456789abcdef" * 2)


def art32(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main([*arguments])
    return int(ended.value.code or 0)


def run(config: Configuration) -> Drained:
    queue = report.open_queue(config)
    return drain(config, queue, report.open_masker(config, queue), force=True)


def test_a_test_shows_exactly_what_was_sent(
    agent_toml: Path, rollbar_server: Rollbar, capsys: pytest.CaptureFixture[str]
) -> None:
    assert art32("--config", str(agent_toml), "--output", "json", "report", "test") == 0
    assert json.loads(capsys.readouterr().out)["data"]["sent"] == rollbar_server.items[0]


def test_a_test_that_does_not_arrive_says_so_with_the_page(
    agent_toml: Path, rollbar_server: Rollbar, capsys: pytest.CaptureFixture[str]
) -> None:
    rollbar_server.answers = [(502, {})]
    assert art32("--config", str(agent_toml), "report", "test") == 75
    said = capsys.readouterr().err
    assert "the test report waits with 0 others: Rollbar answered with 502" in said
    assert "runbook: rollbar-silent" in said


def test_an_error_of_a_verb_waits_with_its_code_and_place(
    agent_toml: Path, reporting: Configuration, rollbar_server: Rollbar
) -> None:
    assert art32("--config", str(agent_toml), "backup", "run") == 78
    assert run(reporting).sent == 1
    (sent,) = rollbar_server.items
    message = sent["body"]["message"]
    assert (sent["context"], message["code"], message["exit_status"]) == (
        *("backup run", "config-invalid"),
        78,
    )
    assert message["place"].startswith("agent.cli.backup.run:")
    assert message["runbook"] == "backup-failed"


def test_a_defect_waits_as_a_trace_of_art32s_own_places(
    agent_toml: Path,
    reporting: Configuration,
    rollbar_server: Rollbar,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*_: object) -> None:
        raise KeyError("mustermann")

    monkeypatch.setattr("agent.health.examine.examine", broken)
    assert art32("--config", str(agent_toml), "health") == 1
    assert run(reporting).sent == 1
    (sent,) = rollbar_server.items
    (trace,) = sent["body"]["trace_chain"]
    assert trace["exception"] == {"class": "KeyError"}
    assert "agent/cli/health.py" in [frame["filename"] for frame in trace["frames"]]
    assert "mustermann" not in rollbar_server.everything()


def test_nothing_about_a_report_changes_how_a_verb_ends(
    agent_toml: Path, reporting: Configuration, capsys: pytest.CaptureFixture[str]
) -> None:
    reporting.state_directory.mkdir()
    (reporting.state_directory / "report").write_text("a file where the directory should be")
    assert art32("--config", str(agent_toml), "backup", "run") == 78
    assert "warning: this cannot be reported: Not a directory" in capsys.readouterr().err


def test_a_failing_check_is_reported_and_one_that_warns_is_not(
    agent_toml: Path, reporting: Configuration, rollbar_server: Rollbar
) -> None:
    reporting.state_directory.mkdir()
    reporting.state_directory.chmod(0o755)
    art32("--config", str(agent_toml), "health", "own_files")
    assert not (reporting.state_directory / "report").exists()  # a part is no look at the host
    art32("--config", str(agent_toml), "health")
    run(reporting)
    states = {one["body"]["message"]["state"] for one in rollbar_server.items}
    assert states <= {"fail", "unknown"}
    assert "check: fail: own-files" in [one["title"] for one in rollbar_server.items]


def test_new_attacks_are_told_by_rule_and_number(
    reporting: Configuration, rollbar_server: Rollbar
) -> None:
    told = _report.attacks(reporting)
    told({"ssh-failed-login": 3, "http-secret-files": 1}, frozenset(["http-secret-files"]))
    run(reporting)
    found = [(one["level"], one["body"]["message"]) for one in rollbar_server.items]
    assert [(level, one["about"], one["count"]) for level, one in found] == [
        ("warning", "ssh-failed-login", 3),
        ("error", "http-secret-files", 1),
    ]


class TestUnit:
    def systemctl(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, said: str) -> None:
        path = tmp_path / "bin"
        path.mkdir()
        (path / "systemctl").write_text(f"#!/bin/sh\ncat <<'END'\n{said}\nEND\n")
        (path / "systemctl").chmod(0o755)
        monkeypatch.setenv("PATH", f"{path}:{os.environ['PATH']}")

    NAME = "art32-backup-postgresql@app.service"

    @pytest.mark.parametrize(
        ("said", "body", "status"),
        [
            (
                "Result=exit-code\nExecMainCode=1\nExecMainStatus=13",
                "unit failed: exit-code: the store is unreachable, refuses, or answers wrongly",
                13,
            ),
            ("Result=oom-kill\nExecMainCode=2\nExecMainStatus=9", "ended by signal 9", None),
            ("Result=timeout\nExecMainCode=0\nExecMainStatus=0", "ended without a word", None),
            ("Result=\nExecMainCode=x\nExecMainStatus=-1", "unit failed: unknown", None),
        ],
    )
    def test_of_a_unit_its_result_and_status_are_told(
        self,
        agent_toml: Path,
        rollbar_server: Rollbar,
        monkeypatch: pytest.MonkeyPatch,
        tmp_path: Path,
        said: str,
        body: str,
        status: int | None,
    ) -> None:
        self.systemctl(monkeypatch, tmp_path, f"{said}\nLoadState=loaded\nInvocationID=")
        assert art32("--config", str(agent_toml), "report", "failure", "--unit", self.NAME) == 0
        (sent,) = rollbar_server.items
        assert body in sent["body"]["message"]["body"]
        assert sent["body"]["message"].get("exit_status") == status
        assert sent["body"]["message"]["about"] == "art32-backup-postgresql@app.service"

    def test_a_run_that_has_spoken_for_itself_is_told_once(
        self,
        agent_toml: Path,
        rollbar_server: Rollbar,
        monkeypatch: pytest.MonkeyPatch,
        tmp_path: Path,
    ) -> None:
        self.systemctl(
            monkeypatch,
            tmp_path,
            "Result=exit-code\nExecMainCode=1\nExecMainStatus=78\nLoadState=loaded\n"
            f"InvocationID={os.environ['INVOCATION_ID']}",
        )
        assert art32("--config", str(agent_toml), "backup", "run") == 78
        assert art32("--config", str(agent_toml), "report", "failure", "--unit", self.NAME) == 0
        assert [one["context"] for one in rollbar_server.items] == ["backup run"]

    @pytest.mark.parametrize("name", ["", "--force", "a b", "a;b", "$(x)", "x" * 300])
    def test_what_is_no_name_is_refused(self, name: str) -> None:
        with pytest.raises(Art32Error) as caught:
            unit.ask(name)
        assert caught.value.code in (Code.USAGE, Code.SOURCE_MISSING, Code.TOOL_MISSING)

    def test_a_unit_that_systemd_does_not_know_is_said(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        self.systemctl(monkeypatch, tmp_path, "LoadState=not-found\nResult=success")
        with pytest.raises(Art32Error, match="knows no unit"):
            unit.ask("art32-nothing.service")


class TestHeartbeats:
    @pytest.fixture
    def beating(
        self, reporting: Configuration, rollbar_server: Rollbar, tmp_path: Path
    ) -> Configuration:
        path = tmp_path / "heartbeats"
        path.write_text(
            f"# a comment\n\nbackup:app {rollbar_server.address}/ping/1?x=2\n"
            f"health {rollbar_server.address}/ping/2\n"
        )
        path.chmod(0o600)
        return changed(reporting, heartbeats_file=path)

    def test_each_success_is_called_once_and_carries_nothing(
        self, beating: Configuration, rollbar_server: Rollbar
    ) -> None:
        for duty in ("backup:app", "backup:app", "health", "backup:other", "../x"):
            report.beat(beating, duty)
        done = run(beating)
        assert (done.called, done.uncalled) == (2, 0)
        assert run(beating).called == 0
        assert [(method, path, body) for method, path, _, body in rollbar_server.requests] == [
            ("GET", "/ping/1?x=2", b""),
            ("GET", "/ping/2", b""),
        ]
        assert set(rollbar_server.requests[0][2]) == {"Host", "Accept-Encoding", "User-Agent"}

    def test_a_call_that_fails_is_made_again_until_it_is_old(
        self, beating: Configuration, rollbar_server: Rollbar, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        report.beat(beating, "health")
        rollbar_server.answers = [(500, {}), (302, {"Location": "/elsewhere"})]
        assert [run(beating).uncalled for _ in range(2)] == [1, 1]
        later = clock.now() + timedelta(hours=2)
        monkeypatch.setattr(clock, "now", lambda: later)
        assert run(beating) == Drained()
        assert len(rollbar_server.requests) == 2

    def test_they_go_although_rollbar_does_not_answer(
        self, beating: Configuration, rollbar_server: Rollbar
    ) -> None:
        report.beat(beating, "health")
        report.failure(beating, Art32Error(Code.SOURCE_FAILED, "x"), verb="backup run")
        rollbar_server.answers = [(503, {})]
        done = run(beating)
        assert (done.called, done.left) == (1, 1)

    def test_neither_keeps_the_other_from_its_turn(
        self, beating: Configuration, rollbar_server: Rollbar
    ) -> None:
        assert beating.report.heartbeats_file is not None
        assert beating.report.token_file is not None
        error = Art32Error(Code.SOURCE_FAILED, "x")
        report.failure(beating, error, verb="backup run")
        beating.report.heartbeats_file.chmod(0o644)
        with pytest.raises(Art32Error, match="others than its owner"):
            run(beating)
        assert len(rollbar_server.items) == 1
        beating.report.heartbeats_file.chmod(0o600)
        beating.report.token_file.chmod(0o644)
        report.failure(beating, error, verb="backup run")
        report.beat(beating, "health")
        with pytest.raises(Art32Error, match="others than its owner"):
            run(beating)
        assert [path for method, path, _, _ in rollbar_server.requests if method == "GET"] == [
            "/ping/2"
        ]

    @pytest.mark.parametrize(
        "line",
        [
            "health",
            "health http://example.org/ping",
            "health ftp://example.org/ping",
            "health https://example.org/a b",
            "health https://user:secret@example.org/",
            "../../etc https://example.org/",
            "HEALTH https://example.org/",
        ],
    )
    def test_a_wrong_line_is_named_by_its_number_and_not_quoted(self, line: str) -> None:
        with pytest.raises(ValueError, match=r"^line 2$"):
            heartbeat.addresses(f"health https://example.org/ping\n{line}\n")

    def test_a_backup_that_succeeds_beats_for_its_source(
        self, beating: Configuration, tmp_path: Path
    ) -> None:
        from agent.cli import Context
        from agent.output import Answer

        context = Context(tmp_path / "agent.toml", "human")
        vars(context)["loaded"] = beating
        failed = [("shop", Art32Error(Code.SOURCE_FAILED, "the dump failed"))]
        _report.answer(
            context,
            "backup run",
            Answer("x", None, [], status=failed[0][1].exit_status, errors=failed, done=["app"]),
        )
        names = [path.name for path, _ in report.open_queue(beating).beats()]
        assert names == ["backup:app"]
        assert report.open_queue(beating).waiting().count == 1
        _report.answer(context, "drill run", Answer("x", None, []))
        names = [path.name for path, _ in report.open_queue(beating).beats()]
        assert names == ["backup:app", "drill-run"]

    def test_a_backup_that_does_not_count_yet_beats_for_nothing(
        self, beating: Configuration, tmp_path: Path
    ) -> None:
        from agent.backup.make import RunResult
        from agent.backup.shipment import Made
        from agent.cli import Context
        from agent.cli.backup import run as running

        context = Context(tmp_path / "agent.toml", "human")
        vars(context)["loaded"] = beating
        made = Made("app", "0" * 16, "", 1, 1, 1.0, suspicious=("shrunk",))
        given = running._run_answer([RunResult("app", [made]), RunResult("shop")], [], "human")
        assert given.status == ExitStatus.WARNINGS
        _report.answer(context, "backup run", given)
        names = [path.name for path, _ in report.open_queue(beating).beats()]
        assert names == ["backup:shop"]


def test_a_process_of_its_own_sends_when_nobody_else_will(
    agent_toml: Path, rollbar_server: Rollbar, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("INVOCATION_ID")
    assert art32("--config", str(agent_toml), "backup", "run") == 78
    until(lambda: rollbar_server.items, "the report")
    assert [one["context"] for one in rollbar_server.items] == ["backup run"]
