"""The configuration's model as data: every table with its keys, for the pages made of it."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Union

from pydantic import AwareDatetime, BaseModel
from pydantic.fields import FieldInfo

from agent.config import reference
from agent.config.model import Configuration


@dataclass(frozen=True)
class Key:
    """One key: its type in the words of TOML; its default, `required`, `none` or `as below`;
    values stand in backticks."""

    name: str
    type: str
    default: str
    meaning: str
    example: str | None


@dataclass(frozen=True)
class Table:
    """`head` as it stands in a file, such as `[store]`; empty for the top of it."""

    head: str
    kind: str | None
    text: str
    keys: tuple[Key, ...]


def tables() -> Iterator[Table]:
    """Yield the top of the file and each table below it, in the order of the model."""
    yield Table("", None, _text(Configuration), _keys(Configuration))
    for path, many, model in _below("", Configuration):
        kind = model.model_fields.get("kind")
        yield Table(
            f"[[{path}]]" if many else f"[{path}]",
            str(typing.get_args(kind.annotation)[0]) if kind else None,
            _text(model),
            _keys(model),
        )


def _text(model: type[BaseModel]) -> str:
    return (model.__doc__ or "").strip()


def _below(prefix: str, model: type[BaseModel]) -> Iterator[tuple[str, bool, type[BaseModel]]]:
    for name, info in model.model_fields.items():
        path = f"{prefix}{name}"
        for many, inner in _models(info.annotation):
            yield path, many, inner
            yield from _below(f"{path}.", inner)


def _models(annotation: Any, many: bool = False) -> Iterator[tuple[bool, type[BaseModel]]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield many, annotation
        return
    origin = typing.get_origin(annotation)
    arguments = typing.get_args(annotation)
    if origin is Annotated:
        arguments = arguments[:1]
    for argument in arguments:
        yield from _models(argument, many or origin is tuple)


def _keys(model: type[BaseModel]) -> tuple[Key, ...]:
    return tuple(
        Key(
            name,
            _type_words(info.annotation),
            _default(info),
            (info.description or "").strip(),
            None
            if not info.examples or any(True for _ in _models(info.annotation))
            else reference.toml_value(info.examples[0]),
        )
        for name, info in model.model_fields.items()
    )


def _default(info: FieldInfo) -> str:
    if info.is_required():
        return "required"
    value = info.get_default(call_default_factory=True)
    if value is None or isinstance(value, BaseModel):
        return "none" if value is None else "as below"
    return f"`{reference.toml_value(value)}`"


def _type_words(annotation: Any) -> str:
    """Return the type of a key in the words of TOML."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        return _type_words(arguments[0])
    if origin is Literal:
        return " or ".join(f'`"{one}"`' for one in arguments)
    if origin is tuple:
        return "tables" if any(True for _ in _models(annotation)) else "list of strings"
    if origin in (Union, types.UnionType):
        words = [_type_words(one) for one in arguments if one is not type(None)]
        return " or ".join(dict.fromkeys(words))
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "table"
    if annotation is AwareDatetime:
        return "date and time with its zone"
    return {str: "string", int: "integer", float: "number", bool: "boolean", Path: "path"}[
        annotation
    ]
