"""What may leave, field by field: the allow-list is these models, and nothing else gets out.

`rebuilt` is the one function through which every report goes, when it is queued and once more at
the last door before the wire. It makes a new document out of the fields below; a field that is not
here is not looked at, a value that does not fit is left out.
https://docs.rollbar.com/reference/create-item
"""

from __future__ import annotations

import builtins
import hashlib
import json
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
)

from agent import __version__
from agent.errors import Code
from agent.report.text import Masker, own_words

MOST_BYTES = 32 << 10
_MOST_RAISED = 8
_MOST_FRAMES = 40


class _Allowed(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)


def _masker(info: ValidationInfo) -> Masker:
    assert isinstance(info.context, Masker)
    return info.context


def _sentence(value: object, info: ValidationInfo) -> str:
    return _masker(info).sentence(str(value)) if isinstance(value, str) else ""


def _name(value: object, info: ValidationInfo) -> str | None:
    return _masker(info).name(value) or None if isinstance(value, str) else None


def _matching(pattern: str) -> BeforeValidator:
    """Return a validator that leaves out what does not match, instead of refusing the whole."""

    def check(value: object) -> str | None:
        return value if isinstance(value, str) and re.fullmatch(pattern, value) else None

    return BeforeValidator(check)


def _number(value: object) -> float | int | None:
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e15:
        return value
    return None


Sentence = Annotated[str, BeforeValidator(_sentence)]
Name = Annotated[str | None, BeforeValidator(_name)]
Label = Annotated[str | None, _matching(r"[a-z][a-z0-9-]{0,40}")]
Words = Annotated[str | None, _matching(r"[a-z]+(?:[ -][a-z]+){0,3}")]
Unit = Annotated[str | None, _matching(r"[a-z%/]{1,10}")]
Moment = Annotated[str | None, _matching(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")]
Number = Annotated[float | None, BeforeValidator(_number)]
Version = Annotated[str, Field(pattern=r"^[0-9][0-9a-z.+-]{0,40}$")]


def _code(value: object) -> str | None:
    return value if isinstance(value, str) and value in _CODES else None


_CODES = frozenset(one.label for one in Code)


def _of_source(value: str | None) -> str | None:
    """Return a name whose every word stands in art32's source."""
    known = value is None or all(map(own_words().__contains__, re.findall(r"[A-Za-z0-9]+", value)))
    return value if known else "elsewhere"


class Frame(_Allowed):
    """A place in code: of art32 the module and line, of a library its name alone."""

    filename: Annotated[
        str,
        Field(pattern=r"^(?:agent(?:/[a-z_0-9]{1,40}){0,5}\.py|[a-z_][a-z0-9_]{0,30})$"),
        AfterValidator(_of_source),
    ]
    lineno: Annotated[int | None, Field(ge=0, le=10**6)] = None
    method: Annotated[
        str | None,
        _matching(r"[A-Za-z_][A-Za-z0-9_]{0,60}|<[a-z]{1,12}>"),
        AfterValidator(_of_source),
    ] = None


def _class(value: object) -> str:
    """Return the name of a class that Python or art32's source knows: others may say anything."""
    known = isinstance(value, str) and (hasattr(builtins, value) or value in own_words())
    return str(value) if known else "Elsewhere"


class Raised(_Allowed):
    """The class of an exception; never what it says."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)

    name: Annotated[str, Field(alias="class", max_length=80), BeforeValidator(_class)]


class Trace(_Allowed):
    """One exception of a chain."""

    frames: Annotated[tuple[Frame, ...], Field(max_length=_MOST_FRAMES)] = ()
    exception: Raised


class Message(_Allowed):
    """What happened, in a sentence and in fields."""

    body: Sentence
    kind: Literal["error", "defect", "check", "attack", "unit", "test"]
    code: Annotated[str | None, BeforeValidator(_code)] = None
    exit_status: Annotated[int | None, Field(ge=0, le=255)] = None
    result: Label = None
    verb: Words = None
    about: Name = None
    place: Annotated[str | None, _matching(r"agent(?:\.[a-z_0-9]+)+:\d{1,5}")] = None
    state: Literal["warn", "fail", "unknown"] | None = None
    value: Number = None
    threshold: Number = None
    measure: Unit = None
    since: Moment = None
    count: Number = None
    times: Number = None
    runbook: Label = None


class Body(_Allowed):
    """What Rollbar shows: of a defect its trace, of all else a message."""

    message: Message | None = None
    trace_chain: Annotated[tuple[Trace, ...] | None, Field(max_length=_MOST_RAISED)] = None


class Server(_Allowed):
    """Which host: the stable name of its duty, as the configuration has it. Never the machine's."""

    host: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,62}$")]


class Notifier(_Allowed):
    """Who reports."""

    name: Literal["art32"] = "art32"
    version: Version = __version__


class Data(_Allowed):
    """All of a report."""

    environment: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,62}$")]
    level: Literal["info", "warning", "error", "critical"]
    timestamp: Annotated[int, Field(ge=0, le=1 << 33)]
    platform: Literal["linux"] = "linux"
    language: Literal["python"] = "python"
    framework: Literal["art32"] = "art32"
    code_version: Version = __version__
    context: Words = None
    uuid: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
    fingerprint: Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")]
    server: Server
    notifier: Notifier = Notifier()
    body: Body


def rebuilt(document: Mapping[str, Any], masker: Masker) -> dict[str, Any]:
    """Return what of a report may leave, as the `data` of Rollbar's API.

    What comes back may be given again: a sentence then loses nothing, or a little more. Raise
    ValueError, which quotes nothing, when that is no report.
    """
    try:
        data = Data.model_validate(dict(document), context=masker)
    except ValidationError as error:
        fields = {".".join(map(str, one["loc"])) for one in error.errors(include_input=False)}
        raise ValueError(f"no report: {len(fields)} fields do not fit") from None
    clean: dict[str, Any] = data.model_dump(mode="json", by_alias=True, exclude_none=True)
    if "trace_chain" in clean["body"]:
        clean["body"].pop("message", None)
    elif "message" not in clean["body"]:
        raise ValueError("no report: it has no body")
    clean["title"] = _title(clean["body"])
    clean["fingerprint"] = _fingerprint(clean)
    if len(json.dumps(clean)) > MOST_BYTES:
        raise ValueError("no report: it is too long")
    return clean


def _title(body: dict[str, Any]) -> str:
    """Return what Rollbar's list shows, made of fields that have been cleaned."""
    if chain := body.get("trace_chain"):
        raised, frames = chain[0]["exception"]["class"], chain[0].get("frames") or [{}]
        return f"defect: {raised} in {frames[-1].get('filename', 'elsewhere')}"
    message = body["message"]
    words = [message["kind"], message.get("state"), message.get("code"), message.get("about")]
    return ": ".join(word for word in words if word)


_IDENTITY = ("kind", "code", "result", "about", "state", "place")


def _fingerprint(clean: dict[str, Any]) -> str:
    """Return what is equal for the same thing on the same host, so that Rollbar counts it as one:
    made of fields that have been cleaned, without the sentence and the numbers."""
    body = clean["body"]
    what = body.get("trace_chain") or [body["message"].get(field) for field in _IDENTITY]
    parts = [clean["environment"], clean["server"]["host"], clean.get("context"), what]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:40]
