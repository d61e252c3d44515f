"""What holds for the repository as a whole: sizes, drift, promises that any change can break."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from agent.cli import LazyGroup, root
from agent.errors import EXIT_MEANINGS, Code, ExitStatus

ROOT = Path(__file__).parent.parent
MODULES = sorted((ROOT / "agent").rglob("*.py"))
PROGRAM = sorted((ROOT / "infra").rglob("*.py"))
LONGEST = 350


def committed_files() -> list[Path]:
    listing = subprocess.run(
        ["git", "-C", str(ROOT), "-c", f"safe.directory={ROOT}", "ls-files", "-z"],
        capture_output=True,
        check=True,
    ).stdout
    paths = [ROOT / name for name in listing.decode().split("\0") if name]
    return [path for path in paths if path.is_file()]


def verbs() -> list[tuple[str, ...]]:
    """Return every command line that is a verb or a group of verbs, as words."""
    found: list[tuple[str, ...]] = []

    def walk(command: click.Command, words: tuple[str, ...]) -> None:
        found.append(words)
        if isinstance(command, click.Group):
            context = click.Context(command)
            for name in command.list_commands(context):
                child = command.get_command(context, name)
                assert child is not None
                walk(child, (*words, name))

    walk(root, ())
    return found


def run_art32(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "agent", *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )


def test_no_module_is_too_long_to_read_in_one_sitting() -> None:
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text().splitlines())
        for path in (*MODULES, *PROGRAM)
    }
    assert len(lengths) > 30
    assert {name: count for name, count in lengths.items() if count > LONGEST} == {}


def test_every_module_says_what_it_is_for() -> None:
    silent = [
        str(path.relative_to(ROOT))
        for path in (*MODULES, *PROGRAM)
        if not path.read_text().lstrip().startswith('"""')
    ]
    assert silent == []


def test_the_program_imports_services_in_the_way_that_has_types() -> None:
    # `from pulumi_aws import s3` is `Any` to mypy: pyproject.toml skips the package's `__init__`
    untyped = [
        str(path.relative_to(ROOT))
        for path in PROGRAM
        if re.search(
            r"^(?:from pulumi_aws import|import pulumi_aws(?: |$))", path.read_text(), re.M
        )
    ]
    assert untyped == []


def test_no_file_names_a_place_of_one_machine() -> None:
    # an own home, a checkout, a virtual environment outside of the tree
    pattern = re.compile(rb"/(?:work|home/[a-z]+|Users/[A-Za-z]+)/[a-z.]|/tmp/venv\b")
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in committed_files()
        for number, line in enumerate(path.read_bytes().splitlines(), 1)
        if pattern.search(line) and path != Path(__file__)
    ]
    assert found == []


def test_the_pinned_requirements_have_hashes_and_no_addresses() -> None:
    files = sorted((ROOT / "requirements").glob("*.txt"))
    assert len(files) == 7
    for file in files:
        text = file.read_text()
        assert "://" not in text, file.name
        pins = re.findall(r"^[A-Za-z0-9][^\n]*?==[^\n]*$(?:\n    --hash=[^\n]*)*", text, re.M)
        assert pins, file.name
        assert [pin.split("\n")[0] for pin in pins if "--hash=sha256:" not in pin] == []


def test_the_pins_of_a_server_are_among_those_that_the_tests_run_with() -> None:
    def pins(name: str) -> set[str]:
        text = (ROOT / "requirements" / name).read_text()
        return {line.split(" ")[0] for line in text.splitlines() if "==" in line}

    assert pins("agent.txt") <= pins("agent-s3.txt") <= pins("agent-host.txt") <= pins("dev.txt")
    assert pins("infra.txt") <= pins("dev.txt")
    assert not any(pin.startswith("pulumi") for pin in pins("agent-host.txt"))


@pytest.mark.parametrize("code", Code, ids=lambda code: code.label)
def test_every_error_code_is_raised_somewhere(code: Code) -> None:
    users = [
        path
        for path in MODULES
        if path.name != "errors.py" and re.search(rf"\bCode\.{code.name}\b", path.read_text())
    ]
    assert users, f"Code.{code.name} is dead: raise it or remove it"


def test_every_exit_status_has_a_meaning_and_every_code_a_status() -> None:
    assert set(EXIT_MEANINGS) == set(ExitStatus)
    labels = [code.label for code in Code]
    assert len(labels) == len(set(labels)) == len(list(Code))
    used = {code.exit_status for code in Code} | {ExitStatus.OK, ExitStatus.WARNINGS}
    assert used == set(ExitStatus)


def test_the_generated_pages_are_what_the_code_says() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "generate_docs.py"), "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("words", verbs(), ids=lambda words: " ".join(words) or "art32")
def test_every_verb_explains_itself(words: tuple[str, ...]) -> None:
    done = run_art32(*words, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"Usage: {' '.join(('art32', *words))} ")
    assert run_art32(*words, "-h").stdout == done.stdout


def test_every_option_and_every_verb_has_a_help_text() -> None:
    silent = []
    for words in verbs():
        command: click.Command = root
        for word in words:
            assert isinstance(command, click.Group)
            found = command.get_command(click.Context(command), word)
            assert found is not None
            command = found
        if not (command.help or "").strip():
            silent.append(" ".join(words))
        silent += [
            f"{' '.join(words)} {option.opts[0]}"
            for option in command.params
            if isinstance(option, click.Option) and not (option.help or "").strip()
        ]
    assert silent == []


def test_a_verb_is_a_file_and_a_file_is_a_verb() -> None:
    def check(command: click.Command, folder: Path) -> None:
        if not isinstance(command, LazyGroup):
            return
        files = {
            path.stem.replace("_", "-")
            for path in folder.iterdir()
            if not path.name.startswith(("_", ".")) and (path.suffix == ".py" or path.is_dir())
        }
        context = click.Context(command)
        assert set(command.list_commands(context)) == files
        for name in files:
            child = command.get_command(context, name)
            assert child is not None
            check(child, folder / name.replace("-", "_"))

    check(root, ROOT / "agent" / "cli")


def test_help_imports_nothing_heavy() -> None:
    program = (
        "import json, sys\n"
        "from agent.cli import main\n"
        "try:\n"
        "    main(sys.argv[1:])\n"
        "finally:\n"
        "    print(json.dumps(sorted(sys.modules)), file=sys.stderr)\n"
    )
    for words in ((), ("backup",), ("backup", "run"), ("restore",)):
        done = subprocess.run(
            [sys.executable, "-c", program, *words, "--help"],
            capture_output=True,
            text=True,
            cwd=ROOT,
            check=True,
        )
        assert done.stdout.startswith("Usage: ")
        loaded = set(json.loads(done.stderr.splitlines()[-1]))
        assert "click" in loaded
        heavy = {"pydantic", "boto3", "botocore", "backports.zstd", "sqlite3", "asyncio"}
        assert loaded & heavy == set(), words
