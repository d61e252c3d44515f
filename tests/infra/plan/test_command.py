"""`make plan`: what a person types, and what is said when it cannot be done."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from infra.config.load import PROJECT
from infra.graph import Graph
from infra.plan.__main__ import ROOT, main
from tests.fixtures.stacks import values
from tests.infra.plan.test_markup import Reader


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with the file of one stack, `prod`."""
    write(tmp_path / "Pulumi.prod.yaml", values())
    return tmp_path


def write(file: Path, config: dict[str, object]) -> None:
    named = {f"{PROJECT}:{name}": value for name, value in config.items()}
    file.write_text(json.dumps({"config": named}))  # YAML takes JSON


def run(folder: Path, *arguments: str) -> int:
    output = str(folder / "plan.html")
    return main(["--folder", str(folder), "--output", output, *arguments])


def refused(capsys: pytest.CaptureFixture[str], folder: Path, *arguments: str) -> str:
    """Return what is said of a plan that cannot be made: on standard error, and no page."""
    assert run(folder, *arguments) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("plan: ")
    assert "Traceback" not in said.err
    assert "  hint: " in said.err
    assert not (folder / "plan.html").exists()
    return said.err.removeprefix("plan: ")


def test_a_page_is_made_without_account_engine_or_credentials(folder: Path) -> None:
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(folder), "LANG": "C.UTF-8"}
    page = folder / "page.html"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "infra.plan", "--stack", "prod"),
            *("--folder", str(folder), "--output", str(page)),
        ],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"{page}: ")
    text = Reader(page.read_text(encoding="utf-8")).text
    assert "design, not preview" in text
    assert "Compared with nothing." in text
    assert "Pulumi.prod.yaml" in text
    assert "10.32.0.0/16" in text


def test_what_was_saved_can_be_compared_with(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    saved = folder / "saved.json"
    assert run(folder, "--stack", "prod", "--save", str(saved)) == 0
    assert Graph.from_json(saved.read_text()).stack == "prod"
    assert run(folder, "--stack", "prod", "--against", str(saved)) == 0
    text = Reader((folder / "plan.html").read_text(encoding="utf-8")).text
    assert "Nothing would change." in text
    write(folder / "Pulumi.prod.yaml", values(cidr="10.64.0.0/16"))
    assert run(folder, "--stack", "prod", "--against", str(saved)) == 0
    text = Reader((folder / "plan.html").read_text(encoding="utf-8")).text
    assert "vpcec2 Vpccidr" in text.replace("cidrBlock", "cidr")
    assert capsys.readouterr().err == ""


def test_a_stack_that_is_not_there_is_named_with_those_that_are(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = refused(capsys, folder, "--stack", "staging")
    assert said.splitlines() == [
        "there is no stack `staging`: no `Pulumi.staging.yaml`",
        "  hint: make plan STACK=prod (there are: prod)",
    ]


@pytest.mark.parametrize("name", ["../prod", "", "a b", "-x", "x" * 200, "prod\n"])
def test_a_name_that_no_stack_can_have_is_refused(
    folder: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    assert "is no name of a stack" in refused(capsys, folder, f"--stack={name}")


def test_all_mistakes_of_a_configuration_are_told_with_their_mend(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(folder / "Pulumi.prod.yaml", values(region="us-east-1", accountId="12", zonez="x"))
    said = refused(capsys, folder, "--stack", "prod")
    assert "the configuration of stack `prod` has" in said
    assert "`accountId` has the wrong form" in said
    assert "`zonez` is no key of this project" in said


@pytest.mark.parametrize(
    "text", ["", "{", "- a", "config: 5", "\x00", "config:\n  art32:x: [", "&a *a"]
)
def test_a_broken_file_is_one_error(
    folder: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    (folder / "Pulumi.prod.yaml").write_text(text)
    refused(capsys, folder, "--stack", "prod")


def test_a_comparison_that_is_none_is_refused_before_a_page_is_written(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    strange = folder / "strange.json"
    strange.write_text('{"steps": [{"op": "same", "urn": "urn:pulumi:prod::shop::a:b:C::x"}]}')
    said = refused(capsys, folder, "--stack", "prod", "--against", str(strange))
    assert "is about stack `prod` of `shop`, not about stack `prod` of `art32`" in said


def test_a_page_that_cannot_be_written_is_one_error(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nowhere = str(folder / "no" / "such" / "place.html")
    assert main(["--stack", "prod", "--folder", str(folder), "--output", nowhere]) == 1
    assert "cannot be written: no such file" in capsys.readouterr().err


@pytest.mark.slow
def test_make_plan_shows_the_example(tmp_path: Path) -> None:
    page = tmp_path / "page with a space.html"
    done = subprocess.run(
        ["make", "--no-print-directory", "plan", "STACK=standard", f"OUTPUT={page}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert f"{page}: " in done.stdout
    assert "Plan of stack standard" in Reader(page.read_text(encoding="utf-8")).text


def test_make_says_how_to_name_a_stack() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "STACK"}
    done = subprocess.run(
        ["make", "--no-print-directory", "plan"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "say which stack: make plan STACK=prod" in done.stderr
