"""Rules as data: what each looks for, when it fires, what it means, and samples that prove it."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable
from functools import cache, cached_property
from importlib import resources
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from agent.errors import Art32Error, Code
from agent.logs.scan import patterns

Family = Literal["http", "ssh", "mail", "error"]
Severity = Literal["low", "medium", "high", "critical"]
SEVERITIES: tuple[Severity, ...] = ("low", "medium", "high", "critical")
BANNING_FAMILIES = ("ssh", "mail")  # web requests are easily provoked in somebody else's name
_FLAGS = re.MULTILINE  # the fields of `anywhere` are joined by line feeds


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Sample(_Table):
    """A line and the verdict that the rule must give on it."""

    line: str
    matches: bool
    address: str | None = Field(None, description="Whom the line accuses.")


class Rule(_Table):
    """One detection."""

    id: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{2,60}$")
    title: str = Field(min_length=5)
    family: Family
    severity: Severity
    served_severity: Severity | None = Field(
        None, description="Severity when the server answered such a request with 2xx."
    )
    triggers: tuple[str, ...] = Field(
        min_length=1, description="First stage: anywhere in the raw line, in any case."
    )
    programs: str = Field("", description="All but http: which program must have written the line.")
    messages: tuple[str, ...] = Field(
        (), description="All but http: the whole message, with the groups `address` and `user`."
    )
    target: tuple[str, ...] = Field((), description="http: in the normalised path and query.")
    agent: tuple[str, ...] = Field((), description="http: in the normalised user agent.")
    anywhere: tuple[str, ...] = Field((), description="http: in path, referer or user agent.")
    methods: tuple[str, ...] = Field((), description="http: only these methods.")
    statuses: tuple[Annotated[str, Field(pattern=r"^[1-5](?:xx|\d\d)$")], ...] = Field(
        (), description="http: only these, as in `404` or `5xx`."
    )
    threshold: int = Field(1, ge=1, le=200)
    window_seconds: int = Field(600, ge=1, le=86_400)
    distinct: Literal["", "user", "target", "address"] = Field(
        "", description="Count different values of this field, not lines."
    )
    key: Literal["address", "user"] = "address"
    total: int | None = Field(
        None, ge=2, le=5000, description="Fire once without an address when all together do this."
    )
    after: str = Field("", description="Only when this rule has counted the same address before.")
    after_count: int = Field(1, ge=1)
    ban: bool = False
    expires_seconds: int = Field(3600, ge=60, le=604_800)
    meaning: str = Field(min_length=20, description="What it tells the reviewer, and what to do.")
    samples: tuple[Sample, ...] = Field(min_length=2)

    @model_validator(mode="after")
    def _sound(self) -> Self:
        web = (*self.target, *self.agent, *self.anywhere)
        checks = (
            (self.triggers, patterns.check_trigger),
            (web, patterns.check_search),
            (self.messages, patterns.check_message),
        )
        for many, check in checks:
            for one in many:
                try:
                    check(one)
                except patterns.PatternError as error:
                    raise ValueError(f"the pattern `{one}` {error}") from None
        if self.family == "http":
            if self.messages or self.programs:
                raise ValueError("`messages` and `programs` are for messages, not for requests")
            if not (web or self.statuses or self.methods):
                raise ValueError("needs a pattern, a status or a method")
        elif not (self.messages and self.programs) or web or self.methods or self.statuses:
            raise ValueError("needs `programs` and `messages` and nothing of http")
        for message in self.messages:
            if "(?P<address>" not in message and self.key == "address" and not self.after:
                raise ValueError(f"the message `{message}` has no group `address`")
        if self.ban and (self.family not in BANNING_FAMILIES or self.key != "address"):
            raise ValueError("only ssh and mail rules about an address may ban")
        if {sample.matches for sample in self.samples} != {True, False}:
            raise ValueError("needs a sample that matches and one that does not")
        return self

    @cached_property
    def program(self) -> re.Pattern[bytes]:
        return re.compile(self.programs.encode())

    @cached_property
    def message(self) -> tuple[re.Pattern[bytes], ...]:
        return tuple(re.compile(one.encode(), re.DOTALL) for one in self.messages)

    @cached_property
    def web(self) -> tuple[re.Pattern[bytes] | None, ...]:
        """The patterns for target, user agent and all three, each as one alternation."""
        return tuple(_union(many) for many in (self.target, self.agent, self.anywhere))

    @cached_property
    def searched(self) -> tuple[bytes, ...]:
        """The triggers as the first stage looks for them."""
        if not self.has_patterns:
            return tuple(one.encode() for one in self.triggers)
        return tuple(patterns.with_encodings(one).encode() for one in self.triggers)

    @cached_property
    def has_patterns(self) -> bool:
        return bool(self.target or self.agent or self.anywhere)

    @cached_property
    def status_test(self) -> frozenset[bytes]:
        """Every status meant, as three digits."""
        return frozenset(
            b"%d" % number
            for one in self.statuses
            for number in (
                range(int(one[0]) * 100, int(one[0]) * 100 + 100)
                if one.endswith("xx")
                else (int(one),)
            )
        )

    @cached_property
    def method_test(self) -> frozenset[bytes]:
        return frozenset(one.encode() for one in self.methods)


def _union(many: tuple[str, ...]) -> re.Pattern[bytes] | None:
    return re.compile("|".join(f"(?:{one})" for one in many).encode(), _FLAGS) if many else None


def load(own: Path | None = None, disabled: Iterable[str] = ()) -> tuple[Rule, ...]:
    """Return Art32's rules and those of a directory, without the disabled ones, by id.

    A rule of the directory replaces Art32's of the same id. Raise CONFIG_INVALID with every mistake
    of a file, or when a disabled rule does not exist.
    """
    found = dict(_shipped())
    if own is not None:
        for path in sorted(own.glob("*.toml")):
            found |= _parse(_read(path), str(path))
    unknown = sorted(set(disabled) - set(found))
    if unknown:
        raise Art32Error(
            Code.CONFIG_INVALID,
            f"`logs.scan.disabled_rules` names `{unknown[0]}`, which is no rule",
            hint="docs/detections.md lists them",
        )
    kept = {name: rule for name, rule in found.items() if name not in set(disabled)}
    for rule in kept.values():
        if rule.after and rule.after not in found:
            raise Art32Error(
                Code.CONFIG_INVALID, f"the rule `{rule.id}` comes after `{rule.after}`: no rule"
            )
    return tuple(kept[name] for name in sorted(kept))


@cache
def _shipped() -> dict[str, Rule]:
    found: dict[str, Rule] = {}
    folder = resources.files(__name__.rpartition(".")[0]).joinpath("rules")
    for entry in sorted(folder.iterdir(), key=lambda one: one.name):
        if entry.name.endswith(".toml"):
            found |= _parse(entry.read_text("utf-8"), entry.name)
    return found


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise Art32Error(
            Code.CONFIG_INVALID, f"the rules in `{path}` cannot be read: {reason}"
        ) from error


def _parse(text: str, origin: str) -> dict[str, Rule]:
    try:
        document = tomllib.loads(text)
        rules = [Rule.model_validate(one) for one in document.get("rules", [])]
    except tomllib.TOMLDecodeError as error:
        raise Art32Error(Code.CONFIG_INVALID, f"`{origin}` is not TOML: {error}") from None
    except ValidationError as error:
        lines = [
            f"  `{'.'.join(map(str, item['loc'])) or 'rule'}`: "
            f"{item['msg'].removeprefix('Value error, ')}"
            for item in error.errors(include_input=False, include_url=False)
        ]
        raise Art32Error(
            Code.CONFIG_INVALID,
            f"a rule in `{origin}` has mistakes\n" + "\n".join(lines),
            hint="docs/detections.md describes every key of a rule",
        ) from None
    names = [rule.id for rule in rules]
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        raise Art32Error(
            Code.CONFIG_INVALID, f"`{origin}` has two rules with the id `{doubled[0]}`"
        )
    return {rule.id: rule for rule in rules}
