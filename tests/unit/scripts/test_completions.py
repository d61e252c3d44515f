"""Completion, asked of the shells themselves."""

from __future__ import annotations

import os
import pty
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest

from agent.cli import root

ROOT = Path(__file__).parents[3]
BASH = "bash-completion/completions/art32"
ZSH = "zsh/vendor-completions"
FISH = "fish/vendor_completions.d/art32.fish"
CONFIGURATION = """\
host = "db1"
[[sources]]
name = "app"
[[sources]]
name = "$(touch {canary})"
[[sources]]
name = "uploads"
  [[logs.rotate]]
  name = "nginx"
[[signers]]
host = "web1"
"""


@pytest.fixture(scope="module")
def share(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory as /usr/share, with the files and a configuration beside them."""
    place = tmp_path_factory.mktemp("share")
    script = ROOT / "scripts" / "completions.py"
    subprocess.run([sys.executable, str(script), str(place)], check=True)
    (place / "agent.toml").write_text(CONFIGURATION.format(canary=place / "canary"))
    return place


def environment(share: Path) -> dict[str, str]:
    return {
        "PATH": "/usr/bin:/bin",
        "HOME": str(share),
        "TERM": "dumb",
        "LC_ALL": "C.UTF-8",
        "ART32_CONFIG": str(share / "agent.toml"),
    }


def ask_bash(share: Path, line: str) -> set[str]:
    words = line.replace("=", " = ").split(" ")
    press = '. "$0"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _art32'
    program = f'{press}; printf "%s\\n" "${{COMPREPLY[@]}}"'
    done = subprocess.run(
        ["bash", "-c", program, str(share / BASH), *words],
        env=environment(share),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return set(done.stdout.split())


def ask_fish(share: Path, line: str) -> set[str]:
    program = f"source {share / FISH}; complete --do-complete '{line}'"
    done = subprocess.run(
        ["fish", "--no-config", "--command", program],
        env=environment(share),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    # fish repeats the option before its value
    return {text.split("\t")[0].rpartition("=")[2] for text in done.stdout.splitlines()}


_ZSHRC = r"""
unsetopt beep; LISTMAX=10000; PROMPT='REA''DY> '; fpath=({place} $fpath)
autoload -Uz compinit; compinit -u -D
compadd() {{  # writes down what would be offered, unless a list is only to be filled
    if [[ ${{@[1,(i)(-|--)]}} == *-(O|A|D)\ * ]]; then builtin compadd "$@"; return $?; fi
    local -a hits; builtin compadd -A hits "$@"; print -rl -- $hits >>{hits}; builtin compadd "$@"
}}
"""


def ask_zsh(share: Path, line: str) -> set[str]:
    """Press Tab in a terminal: zsh completes nowhere else."""
    home, hits = share / "zsh-home", share / "hits"
    home.mkdir(exist_ok=True)
    hits.write_text("")
    (home / ".zshrc").write_text(_ZSHRC.format(place=share / ZSH, hits=hits))
    process, terminal = pty.fork()
    if process == 0:
        variables = {**environment(share), "ZDOTDIR": str(home)}
        os.execvpe("zsh", ["zsh", "-d", "-i"], variables)
    seen = b""
    while b"READY> " not in seen:
        seen += os.read(terminal, 65536)
    os.write(terminal, f"{line}\t\x15exit\n".encode())
    try:
        while os.read(terminal, 65536):
            pass
    except OSError:  # the end of a terminal (pty(7))
        pass
    os.close(terminal)
    os.waitpid(process, 0)
    return set(hits.read_text().split())


SHELLS: dict[str, Callable[[Path, str], set[str]]] = {
    "bash": ask_bash,
    "fish": ask_fish,
    "zsh": ask_zsh,
}


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("art32 ba", {"backup"}),
        ("art32 backup r", {"run"}),
        ("art32 backup run --d", {"--dry-run"}),
        ("art32 --output=j", {"json"}),
        ("art32 --output json backup verify --tier ", {"listing", "hashes", "decrypt"}),
        # of the one `run`, not of another
        ("art32 runbook run --purpose ", {"mend", "verify", "undo"}),
        ("art32 backup run ", {"app", "uploads"}),
        ("art32 logs rotate ", {"nginx"}),
        ("art32 backup list --host ", {"web1"}),
        ("art32 health mem", {"memory"}),
    ],
)
def test_each_shell_offers_what_may_come_next(
    share: Path, shell: str, line: str, offered: set[str]
) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed: make test installs it as root")
    assert SHELLS[shell](share, line) == offered
    assert not (share / "canary").exists(), "a name of the configuration was run as a command"


def test_files_are_offered_where_a_file_is_wanted(share: Path) -> None:
    (share / "access.log").touch()
    for line in ("art32 logs scan ", "art32 --config ", "art32 health --save "):
        assert str(share / "access.log") in ask_bash(share, f"{line}{share}/acc")


def test_every_verb_is_offered_in_its_group(share: Path) -> None:
    def walk(group: click.Group, line: str) -> None:
        context = click.Context(group)
        names = group.list_commands(context)
        assert ask_bash(share, f"{line} ") == set(names)
        for name in names:
            child = group.get_command(context, name)
            if isinstance(child, click.Group):
                walk(child, f"{line} {name}")

    walk(root, "art32")


def test_the_file_for_bash_is_clean(share: Path) -> None:
    checker = Path(sys.executable).parent / "shellcheck"
    done = subprocess.run(
        [str(checker), "--shell=bash", str(share / BASH)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "")
