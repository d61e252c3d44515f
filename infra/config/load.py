"""From raw values to a checked configuration: every mistake at once, each with its mend."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]
from pydantic import ValidationError

from infra.config.checks import Problem, Values, cross_checks
from infra.config.keys import Key, keys
from infra.config.model import InfraConfig, Section
from infra.config.profiles import PROFILES, defaults
from infra.config.regions import partition_of

PROJECT = "art32"
"""The project's name, which is the namespace of its keys."""


class ConfigError(ValueError):
    """A configuration that nothing can be built from. `problems` has all that is wrong with it."""

    def __init__(self, stack: str, problems: tuple[Problem, ...]) -> None:
        self.stack = stack
        self.problems = problems
        count = "one mistake" if len(problems) == 1 else f"{len(problems)} mistakes"
        lines = [f"the configuration of stack `{stack}` has {count}"]
        for problem in problems:
            lines += [f"  {problem.sentence}", f"    hint: {problem.mend}"]
        super().__init__("\n".join(lines))


def load(stack: str) -> InfraConfig:
    """Return the configuration that Pulumi hands to the running program; raise ConfigError."""
    return parse(stack, given(PROJECT))


def given(project: str) -> dict[str, object]:
    """Return the values that Pulumi hands to the running program, of one project's keys."""
    from pulumi.runtime import config as runtime

    raw = {**runtime.get_config_env(), **runtime.CONFIG.get()}
    prefix = f"{project}:"
    return {name.removeprefix(prefix): raw[name] for name in raw if name.startswith(prefix)}


def parse_file(path: Path, stack: str) -> InfraConfig:
    """Return the configuration in a `Pulumi.<stack>.yaml`, without Pulumi; raise ConfigError.

    Encrypted values cannot be read here; no key of this project is a secret.
    """
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except OSError as error:
        raise _unreadable(stack, f"`{path}` cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise _unreadable(stack, f"`{path}` is not YAML") from error
    values = document.get("config") if isinstance(document, dict) else None
    if not isinstance(values, dict):
        raise _unreadable(stack, f"`{path}` has no `config:`")
    prefix = f"{PROJECT}:"
    return parse(
        stack,
        {
            str(name).removeprefix(prefix): value
            for name, value in values.items()
            if str(name).startswith(prefix)
        },
    )


def parse(stack: str, values: Mapping[str, object]) -> InfraConfig:
    """Return the configuration that flat values stand for; raise ConfigError with all mistakes.

    A value may be what YAML gives or the string that Pulumi makes of it (`"3"`, `"true"`,
    `'["a"]'`). Empty strings, empty lists and 0 are "not set": Pulumi.yaml cannot declare a type
    without a default.
    """
    problems = list(_unknown(values))
    raw = {name: values[name] for name in keys() if _is_set(values.get(name))}
    known = Values(stack)
    for name, key in keys().items():
        if name in raw:
            problems += _take(known, key, raw[name])
    profile, region = known.get("profile"), known.get("region")
    decided: dict[str, object] = {}
    if profile in PROFILES:
        architecture = str(known.get("architecture", "arm64"))
        decided |= defaults(str(profile), architecture, ephemeral=known.get("ephemeral") is True)
    if region is not None:
        decided["partition"] = partition_of(str(region))
    for name, key in keys().items():
        if name in raw:
            continue
        if name in decided:
            problems += _take(known, key, decided[name])
        elif not key.info.is_required():
            known[name] = key.info.default
        elif name not in defaults(PROFILES[0], "arm64", ephemeral=False) and name != "partition":
            problems.append(Problem(name, f"`{name}` is missing: {_described(key)}", key.mend()))
    problems += cross_checks(known)
    if problems:
        order = {name: place for place, name in enumerate(keys())}
        problems.sort(key=lambda problem: order.get(problem.key, len(order)))
        raise ConfigError(stack, tuple(problems))
    return _build(stack, known)


def _build(stack: str, known: Mapping[str, Any]) -> InfraConfig:
    document: dict[str, Any] = {"stack": stack}
    for name, key in keys().items():
        place = document.setdefault(key.section, {}) if key.section else document
        place[key.field] = known[name]
    for name, info in InfraConfig.model_fields.items():
        if isinstance(info.annotation, type) and issubclass(info.annotation, Section):
            document[name] = info.annotation.model_construct(**document[name])
    return InfraConfig.model_construct(**document)


def _is_set(value: object) -> bool:
    return value is False or value not in (None, "", 0, "0", [], (), "[]")


def _unreadable(stack: str, sentence: str) -> ConfigError:
    hint = f"cp Pulumi.small.yaml.example Pulumi.{stack}.yaml"
    return ConfigError(stack, (Problem("", sentence, hint),))


def _unknown(values: Mapping[str, object]) -> Iterator[Problem]:
    for name in sorted(set(values) - set(keys())):
        close = difflib.get_close_matches(name, keys(), n=1)
        meant = f": `{close[0]}`?" if close else ""
        yield Problem(
            name, f"`{name}` is no key of this project{meant}", f"pulumi config rm {name}"
        )


def _described(key: Key) -> str:
    return key.description[0].lower() + key.description[1:].rstrip(".")


def _take(known: Values, key: Key, value: object) -> Iterator[Problem]:
    """Validate a value into `known`, or yield what is wrong with it."""
    try:
        known[key.name] = key.validate(_from_text(key, value))
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
        if any(isinstance(part, int) for item in found for part in item["loc"]):
            # an entry that is wrong is missing in the list, which is not the mistake
            found = [item for item in found if item["type"] != "too_short"]
        for item in found:
            where = "".join(f"[{part}]" for part in item["loc"] if isinstance(part, int))
            yield Problem(key.name, f"`{key.name}{where}` {_reason(item)}", key.mend())


def _from_text(key: Key, value: object) -> object:
    if key.type == "string":  # YAML reads 123456789012 as a number
        return str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if isinstance(value, str):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


def _reason(item: Any) -> str:
    context = item.get("ctx", {})
    match item["type"]:
        case "literal_error":
            return f"is none of {context['expected'].replace(chr(39), '`')}"
        case "string_pattern_mismatch":
            return "has the wrong form"
        case "greater_than_equal":
            return f"is less than {context['ge']}"
        case "less_than_equal":
            return f"is more than {context['le']}"
        case "too_short":
            return f"has fewer than {context['min_length']} entries"
        case "too_long":
            return f"has more than {context['max_length']} entries"
        case "string_too_short":
            return f"has fewer than {context['min_length']} characters"
        case "value_error":
            return str(context["error"])
        case _:
            message: str = item["msg"]
            return "is wrong: " + message[0].lower() + message[1:]
