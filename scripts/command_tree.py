"""The command line as data: every verb with its options and arguments, for what is made of it."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass

import click

from agent.cli import LazyGroup, root

#: What a value is by the word that the help has for it.
_KINDS = {
    "SOURCE": "source",
    "LOG": "log",
    "PIPE": "pipe",
    "RECIPIENT": "recipient",
    "RUNBOOK": "runbook",
    "CHECK": "check",
    "HOST": "host",
    "PATH": "file",
    "TARGET": "file",
    "OUTPUT": "file",
}


@dataclass(frozen=True)
class Value:
    """What stands behind an option or as an argument. `kind` is `choice`, `file`, `directory`, a
    name that the configuration knows (`source`, `log`, ...), or `text`."""

    kind: str
    word: str
    choices: tuple[str, ...] = ()
    many: bool = False


@dataclass(frozen=True)
class Option:
    """`names` as typed, `value` None for a flag, `text` the help in one paragraph."""

    names: tuple[str, ...]
    value: Value | None
    text: str
    repeated: bool


@dataclass(frozen=True)
class Command:
    """One verb or group of verbs: `words` after `art32`, `verbs` with a line for each."""

    words: tuple[str, ...]
    usage: str
    text: str
    verbs: dict[str, str]
    options: tuple[Option, ...]
    arguments: tuple[Value, ...]


def commands() -> Iterator[Command]:
    """Yield every verb and every group, each group before what is in it."""
    context = click.Context(root, info_name="art32", **root.context_settings)
    yield from _walk(root, context, ())


def _walk(
    command: click.Command, context: click.Context, words: tuple[str, ...]
) -> Iterator[Command]:
    verbs = _lines(command)
    yield Command(
        words,
        " ".join(command.collect_usage_pieces(context)),
        inspect.cleandoc(command.help or ""),
        verbs,
        tuple(
            _option(one, context)
            for one in command.get_params(context)
            if isinstance(one, click.Option)
        ),
        tuple(_value(one, context) for one in command.params if isinstance(one, click.Argument)),
    )
    for name in verbs:
        assert isinstance(command, click.Group)
        child = command.get_command(context, name)
        assert child is not None
        inner = click.Context(child, info_name=name, parent=context)
        yield from _walk(child, inner, (*words, name))


def _lines(command: click.Command) -> dict[str, str]:
    if isinstance(command, LazyGroup):
        return command.lines()
    if isinstance(command, click.Group):
        return {name: one.get_short_help_str(200) for name, one in command.commands.items()}
    return {}


def _option(option: click.Option, context: click.Context) -> Option:
    record = option.get_help_record(context)
    assert record is not None
    return Option(
        (*option.opts, *option.secondary_opts),
        None if option.is_flag or option.count else _value(option, context),
        record[1],
        option.multiple or option.count,
    )


def _value(parameter: click.Parameter, context: click.Context) -> Value:
    word = re.sub(r"[][]|\.\.\.", "", parameter.make_metavar(context)) or "VALUE"
    many = parameter.multiple or parameter.nargs == -1
    given = parameter.type
    if isinstance(given, click.DateTime):
        return Value("text", "DATE", (), many)
    if isinstance(given, click.Choice):
        return Value("choice", word, tuple(map(str, given.choices)), many)
    if isinstance(given, click.Path | click.File):
        only = isinstance(given, click.Path) and not given.file_okay
        return Value("directory" if only else "file", word, (), many)
    return Value(_KINDS.get(word.partition("|")[0], "text"), word, (), many)
