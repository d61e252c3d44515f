"""The manual: complete, and such that the formatter has nothing to say."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from agent.cli import root
from agent.config.model import Configuration

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def manual(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return each page by its name, as a terminal shows it; the formatter must not complain."""
    place = tmp_path_factory.mktemp("man")
    script = ROOT / "scripts" / "manual.py"
    subprocess.run([sys.executable, str(script), str(place)], check=True)
    pages = sorted(place.glob("man?/*"))
    shown = {}
    for page in pages:
        done = subprocess.run(
            ["groff", "-man", "-ww", "-Tutf8", "-P-cbou", "-rLL=100n", str(page)],
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stderr == "", page.name
        shown[page.name] = done.stdout.replace("\N{MINUS SIGN}", "-")
    return shown


def test_each_verb_has_a_page_and_each_of_its_verbs_and_options_is_there(
    manual: dict[str, str],
) -> None:
    context = click.Context(root)
    names = root.list_commands(context)
    assert set(manual) == {"art32.1", "art32.toml.5", *(f"art32-{name}.1" for name in names)}

    def look(command: click.Command, words: tuple[str, ...], page: str) -> None:
        if isinstance(command, click.Group):
            for name in command.list_commands(click.Context(command)):
                child = command.get_command(click.Context(command), name)
                assert child is not None
                look(child, (*words, name), page)
            return
        assert re.search(rf"^ +{' '.join(words)} ", page, re.M), words
        for option in command.params:
            if isinstance(option, click.Option):
                assert re.search(rf"^ +.*{option.opts[0]}\b", page, re.M), (words, option.opts)

    for name in names:
        child = root.get_command(context, name)
        assert child is not None
        look(child, ("art32", name), manual[f"art32-{name}.1"])
        assert f"art32-{name}(1)" in manual["art32.1"]


def test_each_key_of_the_configuration_is_there(manual: dict[str, str]) -> None:
    page = manual["art32.toml.5"]
    for name in Configuration.model_fields:
        assert re.search(rf"^ +{name}( |$)", page, re.M), name
    for head in ("[store] of kind s3", "[[health.listeners]]", "[[sources]] of kind postgresql"):
        assert head in page


def test_no_markup_of_the_source_is_left(manual: dict[str, str]) -> None:
    for name, page in manual.items():
        assert "`" not in page, name
        assert "\\" not in page, name


def test_the_same_commit_makes_the_same_pages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1767225600")
    script = ROOT / "scripts" / "manual.py"
    subprocess.run([sys.executable, str(script), str(tmp_path)], check=True)
    assert '"2026-01-01"' in (tmp_path / "man1" / "art32.1").read_text()
