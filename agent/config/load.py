"""Reads the configuration file: every mistake at once, each with its path and a hint."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from agent.config import credentials
from agent.config.model import Configuration, fingerprint_file
from agent.errors import Art32Error, Code

_KINDS = frozenset(
    ("directory", "s3", "postgresql", "mysql", "sqlite", "command")
)  # pydantic puts a union's tag into the path of an error; the file has no such level


def load(path: Path) -> Configuration:
    """Return the configuration in a TOML file.

    Raise CONFIG_MISSING when it cannot be read, CONFIG_INVALID with all its mistakes otherwise.
    No value of the file is quoted in a message: a misplaced secret stays where it is.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise Art32Error(
            Code.CONFIG_MISSING,
            f"the configuration `{path}` cannot be read: {error.strerror}",
            hint="art32 config sample > agent.toml, then name it with --config",
        ) from error
    try:
        document = tomllib.loads(data.decode())
    except UnicodeDecodeError as error:
        raise Art32Error(Code.CONFIG_INVALID, f"`{path}` is not UTF-8 text") from error
    except tomllib.TOMLDecodeError as error:
        raise Art32Error(
            Code.CONFIG_INVALID, f"`{path}` is not TOML: {error}", hint="see https://toml.io"
        ) from error
    except (ValueError, RecursionError) as error:  # a number of 4301 digits, 1000 brackets
        raise Art32Error(
            Code.CONFIG_INVALID, f"`{path}` holds a number or a nesting beyond all measure"
        ) from error
    # noted by root beside the configuration: before a unit's own path takes the place of the key's
    return parse(credentials.found(_with_own_keys(document)), origin=str(path))


def _with_own_keys(document: dict[str, Any]) -> dict[str, Any]:
    """Add the fingerprints of the keys that `host enrol` has made, unless the file names them."""
    document = _with_own_key(document)
    wal = document.get("wal")
    return {**document, "wal": _with_own_key(wal)} if isinstance(wal, dict) else document


def _with_own_key(table: dict[str, Any]) -> dict[str, Any]:
    signing = table.get("signing")
    if not isinstance(signing, dict) or "fingerprint" in signing:
        return table
    name = signing.get("key_file")
    if not isinstance(name, str) or not name.startswith("/") or "\0" in name:
        return table
    try:
        noted = fingerprint_file(Path(name)).read_text("ascii").strip()
    except (OSError, ValueError):  # not made yet
        return table
    return {**table, "signing": {**signing, "fingerprint": noted}}


def parse(document: dict[str, Any], *, origin: str) -> Configuration:
    """Return the configuration in a parsed document; raise CONFIG_INVALID with all mistakes."""
    try:
        return Configuration.model_validate(document)
    except ValidationError as error:
        items = error.errors(include_input=False, include_url=False)
        inside = {item["loc"][:depth] for item in items for depth in range(len(item["loc"]))}
        found = [
            f"{_path(item['loc'])}: {_reason(item['type'], item['msg'])}"
            for item in items
            if item["loc"] not in inside  # a list is too short because what is in it is wrong
        ]
        count = "one mistake" if len(found) == 1 else f"{len(found)} mistakes"
        raise Art32Error(
            Code.CONFIG_INVALID,
            f"`{origin}` has {count}\n" + "\n".join(f"  {line}" for line in found),
            hint="art32 config sample shows every key with its meaning",
        ) from None


def _path(location: tuple[int | str, ...]) -> str:
    text = ""
    before: int | str = ""
    for part in location:
        if isinstance(part, int):
            text += f"[{part}]"
        elif part not in _KINDS or not (before == "store" or isinstance(before, int)):
            text += f".{part}" if text else part
        before = part
    return f"`{text}`" if text else "the file"


def _reason(kind: str, message: str) -> str:
    match kind:
        case "missing":
            return "is missing"
        case "extra_forbidden":
            return "is not a known key"
        case "union_tag_not_found":
            return "has no `kind`"
        case "union_tag_invalid":
            return "is of a `kind` that is not known; known are " + message.rpartition(":")[
                -1
            ].strip().replace("'", "`")
        case "string_type" | "path_type":
            return "is not a string"
        case "tuple_type":
            return "is not a list"
        case "model_type" | "model_attributes_type":
            return "is not a table"
        case "string_pattern_mismatch":
            return "does not match `" + message.split("'", 1)[-1].removesuffix("'") + "`"
        case "too_short":
            return "is empty"
    text = message.removeprefix("Value error, ")
    for thing in ("Input", "String", "Value"):
        text = text.replace(f"{thing} should ", "must ", 1)
    return text[:1].lower() + text[1:]
