"""A stack's `Pulumi.<stack>.yaml`, as far as a restore needs it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from agent.errors import Art32Error, Code
from agent.snapshots import number

_PREFIX = "art32:"
_ACCOUNT = re.compile(r"[0-9]{12}")
_REGION = re.compile(r"[a-z]{2,4}(?:-[a-z]+)+-[0-9]")
_NAME = re.compile(r"[a-z][a-z0-9-]{0,15}")


@dataclass(frozen=True)
class Stack:
    """A stack by its file. `values` has the keys that are set, without their prefix."""

    name: str
    project: Path
    account_id: str
    region: str
    values: Mapping[str, object]

    def text(self, key: str) -> str | None:
        """Return the value of a key as text, None when it is not set."""
        value = self.values.get(key)
        return str(value) if isinstance(value, str | int) and value not in ("", 0) else None

    def texts(self, key: str) -> tuple[str, ...]:
        """Return the value of a key that is a list, empty when it is not set."""
        value = self.values.get(key)
        return tuple(str(item) for item in value) if isinstance(value, list) else ()

    def count(self, key: str) -> int | None:
        """Return the value of a key that is a number, None when it is not set or is none."""
        text = self.text(key)
        return int(text) if text is not None and text.isdecimal() else None

    def generations(self, component: str) -> Sequence[str]:
        """Return the generations of a component as the file has them; `g1` when it names none.

        Raise CONFIG_INVALID for one that is not of the form.
        """
        key = f"{component}Generations"
        found = self.texts(key) or ("g1",)
        for text in found:
            try:
                number(text)
            except ValueError:
                raise _wrong(
                    self.name,
                    f"`{key}` has `{text}`, which is no generation",
                    f"pulumi config get {key} --stack {self.name}",
                ) from None
        return found

    def physical(self, *parts: str) -> str:
        """Return the name of a thing at AWS that the program names itself."""
        return "-".join(("art32", self.name, *parts))

    def role(self, duty: str) -> str:
        """Return the name of one of its roles, which are the whole account's: with the region."""
        return self.physical(self.region, duty)


def load(name: str, project: Path) -> Stack:
    """Return a stack by its file in the directory of the program.

    Raise CONFIG_MISSING, CONFIG_INVALID, TOOL_MISSING without PyYAML.
    """
    try:
        import yaml  # type: ignore[import-untyped]
    except ImportError as error:
        raise Art32Error(
            Code.TOOL_MISSING,
            "a stack's file needs `pyyaml`, which is not installed",
            hint="pip install 'art32[aws]'",
        ) from error
    if not _NAME.fullmatch(name):
        raise Art32Error(
            Code.USAGE, f"`{name}` is no name of a stack", hint="name it as `pulumi stack ls` does"
        )
    path = project / f"Pulumi.{name}.yaml"
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise Art32Error(
            Code.CONFIG_MISSING,
            f"the stack's file `{path}` cannot be read: {error.strerror}",
            hint="run it in the directory of Pulumi.yaml, or name that with --project",
            runbook="snapshot-restore",
        ) from error
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise _wrong(name, f"`{path}` is not YAML", f"pulumi config --stack {name}") from error
    found = document.get("config") if isinstance(document, dict) else None
    if not isinstance(found, dict):
        raise _wrong(name, f"`{path}` has no `config:`", f"pulumi config --stack {name}")
    values = {
        str(key).removeprefix(_PREFIX): value
        for key, value in found.items()
        if str(key).startswith(_PREFIX)
    }
    return Stack(
        name,
        project,
        _required(name, path, values, "accountId", _ACCOUNT, "123456789012"),
        _required(name, path, values, "region", _REGION, "eu-central-1"),
        values,
    )


def _required(
    name: str,
    path: Path,
    values: Mapping[str, object],
    key: str,
    form: re.Pattern[str],
    example: str,
) -> str:
    value = values.get(key)
    text = str(value).zfill(12) if isinstance(value, int) else value
    if not isinstance(text, str) or not form.fullmatch(text):
        raise _wrong(
            name,
            f"`{path}` has no usable `{_PREFIX}{key}`",
            f"pulumi config set {key} {example} --stack {name}",
        )
    return text


def _wrong(name: str, sentence: str, hint: str) -> Art32Error:
    return Art32Error(
        Code.CONFIG_INVALID, f"stack `{name}`: {sentence}", hint=hint, runbook="snapshot-restore"
    )
