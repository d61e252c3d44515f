"""The command line: one file a verb, found when it is called, so that `--help` starts at once.

This module is the single place where errors become exit statuses and signals become errors.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn, cast

import click

from agent import __version__, output
from agent.errors import Art32Error, Code, ExitStatus, Interrupted, from_defect

if TYPE_CHECKING:
    from agent.config.model import Configuration

VERB = "art32.verb"
DEFAULT_CONFIG = "/etc/art32/agent.toml"
VERBS = {
    "backup": "make, list, verify, prune and delete backups",
    "config": "check, show and document the configuration",
    "doctor": "find out whether this machine could back up and restore, before it must",
    "drill": "rehearse restores, and show that the recovery keys are there",
    "health": "look at what is true of this host now",
    "host": "enrol hosts, and keep the list of their signing keys",
    "logs": "find attacks in logs, take personal data out, rotate, ship and restore them",
    "report": "tell Rollbar of failures, without personal data",
    "restore": "bring a backup back",
    "service": "have systemd run what the configuration asks for",
    "runbook": "list, show and follow what to do when something is wrong",
    "snapshot": "look at a stack's snapshots at AWS, and plan a restore from one",
    "wal": "archive PostgreSQL's write-ahead log as it is written, and bring it back",
}


@dataclass(frozen=True)
class Context:
    """The global options; `configured` when a file is named or stands in the usual place."""

    config_path: Path
    form: output.Form
    configured: bool = True

    def load(self) -> Configuration:
        """Return the configuration; raise CONFIG_MISSING or CONFIG_INVALID."""
        return self.loaded

    @functools.cached_property
    def loaded(self) -> Configuration:
        """The configuration, read when it is first asked for."""
        from agent.config.load import load

        return load(self.config_path)

    def load_if_there(self) -> Configuration | None:
        """Return the configuration; None when nobody named a file and the default is not there."""
        if str(self.config_path) == DEFAULT_CONFIG and not self.config_path.exists():
            return None
        return self.load()

    def finish(self, answer: output.Answer) -> NoReturn:
        """Print the answer and end with its status."""
        output.show(answer, self.form)
        _report_answer(self, answer)
        raise SystemExit(output.exit_code(answer.status, self.form))


class LazyGroup(click.Group):
    """A group whose commands are modules of a package, imported when they are called.

    `verbs` maps a command's name to its one-line help, so that `--help` imports none of them.
    """

    def __init__(self, *arguments: Any, package: str, verbs: dict[str, str], **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._package = package
        self._verbs = verbs

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted(self._verbs)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self._verbs:
            return None
        ctx.meta[VERB] = f"{ctx.command_path} {cmd_name}".partition(" ")[2]
        module = importlib.import_module(f"{self._package}.{cmd_name.replace('-', '_')}")
        return cast(click.Command, module.command)

    def lines(self) -> dict[str, str]:
        """Return each verb with its one-line help, by name."""
        return dict(sorted(self._verbs.items()))

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Verbs"):
            formatter.write_dl(list(self.lines().items()))


@click.group(
    cls=LazyGroup,
    package=__name__,
    verbs=VERBS,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, prog_name="art32", message="%(prog)s %(version)s")
@click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help=f"Configuration file; by default $ART32_CONFIG, else {DEFAULT_CONFIG}.",
)
@click.option(
    "--output",
    "form",
    type=click.Choice(output.FORMS),
    default="human",
    show_default=True,
    help="For people, for programs, or one line for monitoring.",
)
@click.pass_context
def root(ctx: click.Context, config_path: Path | None, form: output.Form) -> None:
    """Keeps what a host of personal data promises: backups, logs, health, rehearsed recovery.

    Exit status: 0 done, 20 done but a person should look, anything else failed.
    """
    chosen = config_path or Path(os.environ.get("ART32_CONFIG") or DEFAULT_CONFIG)
    named = config_path is not None or bool(os.environ.get("ART32_CONFIG"))
    ctx.obj = Context(chosen, form, named or os.path.lexists(chosen))


def _form(arguments: list[str]) -> output.Form:
    """Return the form asked for, even when the command line cannot be parsed."""
    for index, argument in enumerate(arguments):
        value = argument.partition("=")[2] if argument.startswith("--output=") else None
        if argument == "--output" and index + 1 < len(arguments):
            value = arguments[index + 1]
        if value in output.FORMS:
            return value
    return "human"


def _catch(handler: Callable[[int, FrameType | None], object]) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, handler)


def _interrupt(number: int, _frame: object) -> NoReturn:
    _catch(_too_late)
    raise Interrupted(signal.Signals(number).name)


def _too_late(_number: int, _frame: object) -> None:
    """The end has come already. Not SIG_IGN: children would inherit that."""


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run a command line and exit with its status."""
    given = sys.argv[1:] if arguments is None else arguments
    form = _form(given)
    try:
        _catch(_interrupt)
        _run(given, form)
    except Interrupted as interrupted:
        with contextlib.suppress(OSError):
            output.fail(interrupted.error, form)
        sys.exit(output.exit_code(ExitStatus.INTERRUPTED, form))
    except OSError as error:
        _silence()
        # not under `nagios`: its line would go where nothing goes any more
        with contextlib.suppress(OSError):
            output.fail(_no_output(error), "human" if form == "nagios" else form)
        sys.exit(output.exit_code(Code.OUTPUT_FAILED.exit_status, form))
    finally:
        _catch(_too_late)
        _silence()


def _no_output(error: OSError) -> Art32Error:
    return Art32Error(Code.OUTPUT_FAILED, f"the output cannot be written: {error.strerror}")


def _of_output(error: OSError) -> bool:
    """Whether it was raised by printing, in `agent.output` or by click's help."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return trace is not None and trace.tb_frame.f_globals.get("__name__") in (
        output.__name__,
        click.utils.__name__,
    )


def _silence() -> None:
    """Lead a stream that takes no more to nowhere: the interpreter flushes it once again."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            with contextlib.suppress(OSError), open(os.devnull, "wb") as nowhere:
                os.dup2(nowhere.fileno(), stream.fileno())


def _run(given: list[str], form: output.Form) -> NoReturn:
    context: click.Context | None = None
    try:
        # not `root.main`: it turns a broken pipe, of whatever file, into status 1 without a word
        with root.make_context("art32", list(given)) as context:
            root.invoke(context)
    except Art32Error as error:
        output.fail(error, form)
        _report_error(context, error)
        sys.exit(output.exit_code(error.exit_status, form))
    except click.exceptions.Exit as error:
        sys.exit(error.exit_code)
    except click.exceptions.NoArgsIsHelpError as error:
        _no_verb(error, form)
    except click.ClickException as error:
        usage = error.format_message()
        usage = usage[:1].lower() + usage[1:].rstrip(".")
        sentence = usage.replace("'", "`")
        output.fail(Art32Error(Code.USAGE, sentence, hint=_help_hint(error)), form)
        sys.exit(output.exit_code(ExitStatus.USAGE, form))
    except OSError as error:
        if _of_output(error):
            raise
        output.fail(from_defect(error), form)
        _report_error(context, from_defect(error), error)
        sys.exit(output.exit_code(ExitStatus.DEFECT, form))
    except Exception as error:  # noqa: BLE001 - the one place where a defect becomes a status
        output.fail(from_defect(error), form)
        _report_error(context, from_defect(error), error)
        sys.exit(output.exit_code(ExitStatus.DEFECT, form))
    sys.exit(int(ExitStatus.OK))


def _report_error(
    context: click.Context | None, error: Art32Error, cause: Exception | None = None
) -> None:
    """Have an error reported when it has been printed; only where a configuration was read."""
    found = None if context is None else context.obj
    if context is not None and isinstance(found, Context) and "loaded" in vars(found):
        from agent.cli import _report

        _report.error(found, str(context.meta.get(VERB, "")), error, cause)


def _report_answer(context: Context, answer: output.Answer) -> None:
    if "loaded" in vars(context):
        from agent.cli import _report

        _report.answer(context, str(click.get_current_context().meta.get(VERB, "")), answer)


def _no_verb(error: click.exceptions.NoArgsIsHelpError, form: output.Form) -> NoReturn:
    """Show a person the help; tell a program that a verb is missing."""
    if form == "human":
        output.say(error.format_message())
    else:
        output.fail(Art32Error(Code.USAGE, "a verb is missing", hint=_help_hint(error)), form)
    sys.exit(output.exit_code(ExitStatus.USAGE, form))


def _help_hint(error: click.ClickException) -> str:
    if isinstance(error, click.NoSuchOption) and error.option_name in ("--config", "--output"):
        return f"`{error.option_name}` stands before the verb: art32 {error.option_name} ... VERB"
    context = getattr(error, "ctx", None)
    return f"{context.command_path} --help" if context else "art32 --help"
