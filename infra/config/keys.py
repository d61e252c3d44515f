"""The keys of a stack's configuration, as Pulumi knows them: flat, camelCase, with a type each."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Literal, Union

from pydantic import TypeAdapter
from pydantic.fields import FieldInfo

from infra.config.model import InfraConfig, Section


@dataclass(frozen=True)
class Key:
    """One key. `section` is the group in the model, empty for the top."""

    name: str
    section: str
    field: str
    info: FieldInfo

    @property
    def type(self) -> str:
        """Return the type in Pulumi's terms: `string`, `integer`, `boolean` or `array`."""
        return _pulumi_type(self.info.annotation)

    @property
    def description(self) -> str:
        """Return what the key means."""
        return self.info.description or ""

    @property
    def example(self) -> Any:
        """Return a value that is valid."""
        return (self.info.examples or [None])[0]

    @property
    def choices(self) -> tuple[Any, ...]:
        """Return the values that there are, empty when any of the type will do."""
        return _choices(self.info.annotation)

    def validate(self, value: object) -> Any:
        """Return the value in the model's type; raise pydantic's ValidationError."""
        return _adapter(self.name).validate_python(value)

    def mend(self, value: object = None) -> str:
        """Return the command that gives the key a value, its example when none is given."""
        value = self.example if value is None else value
        if isinstance(value, list):
            lines = [
                f"pulumi config set --path '{self.name}[{place}]' {_quote(item)}"
                for place, item in enumerate(value)
            ]
            return " && ".join(lines)
        return f"pulumi config set {self.name} {_quote(value)}"


@cache
def keys() -> Mapping[str, Key]:
    """Return every key by its name, in the order of the model."""
    found: dict[str, Key] = {}
    for name, info in InfraConfig.model_fields.items():
        if isinstance(info.annotation, type) and issubclass(info.annotation, Section):
            for inner, inner_info in info.annotation.model_fields.items():
                key = Key(_camel(f"{name}_{inner}"), name, inner, inner_info)
                found[key.name] = key
        elif name != "stack":
            found[_camel(name)] = Key(_camel(name), "", name, info)
    return found


@cache
def _adapter(name: str) -> TypeAdapter[Any]:
    info = keys()[name].info
    annotation: Any = info.annotation
    return TypeAdapter(Annotated[annotation, *info.metadata] if info.metadata else annotation)


def _camel(name: str) -> str:
    first, *rest = name.strip("_").split("_")
    return first + "".join(word.capitalize() for word in rest)


def _quote(value: object) -> str:
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return text if text.replace(".", "").replace("-", "").isalnum() else f"'{text}'"


def _parts(annotation: Any) -> tuple[Any, ...]:
    """Return what an annotation may be, without None and without what `Annotated` adds."""
    if typing.get_origin(annotation) is Annotated:
        return _parts(typing.get_args(annotation)[0])
    if typing.get_origin(annotation) in (Union, types.UnionType):
        return tuple(
            part
            for choice in typing.get_args(annotation)
            if choice is not type(None)
            for part in _parts(choice)
        )
    return (annotation,)


def _choices(annotation: Any) -> tuple[Any, ...]:
    (part,) = _parts(annotation)
    return typing.get_args(part) if typing.get_origin(part) is Literal else ()


def _pulumi_type(annotation: Any) -> str:
    (part,) = _parts(annotation)
    if typing.get_origin(part) is tuple:
        return "array"
    kind = type(typing.get_args(part)[0]) if typing.get_origin(part) is Literal else part
    return {bool: "boolean", int: "integer"}.get(kind, "string")
