from __future__ import annotations

import pytest

from agent import output
from agent.errors import Art32Error, Code

HOSTILE = "\x1b]0;owned\x07 \x9b2J \udcff name"
TAMED = "?]0;owned? ?2J \\udcff name"


@pytest.mark.parametrize("form", ["human", "nagios"])
def test_what_comes_out_of_a_store_cannot_command_a_terminal(
    form: output.Form, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = output.Answer("art32.test/1", {}, [HOSTILE], [HOSTILE])
    output.show(answer, form)
    output.fail(Art32Error(Code.SUSPECT, HOSTILE, hint=HOSTILE), form)
    said = "".join(capsys.readouterr())
    assert TAMED in said
    assert "\x1b" not in said


def test_lines_and_tabs_stay_as_they_are() -> None:
    assert output.plain("one\n\ttwo ü") == "one\n\ttwo ü"


def test_monitoring_gets_one_line_without_performance_data(
    capsys: pytest.CaptureFixture[str],
) -> None:
    output.fail(Art32Error(Code.SUSPECT, "first\nsecond | third"), "nagios")
    assert capsys.readouterr().out == "ART32 CRITICAL - suspect: first second / third\n"
