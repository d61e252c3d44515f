"""An exception as classes and places: never a message, a local variable, an argument, a path."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import TracebackType
from typing import Any

from agent.errors import Art32Error

_MOST = 8
_MOST_FRAMES = 40


def chain(error: BaseException) -> list[dict[str, Any]]:
    """Return an exception and what it came from, the last one first, as Rollbar's `trace_chain`."""
    return [
        {"frames": list(_frames(one.__traceback__)), "exception": {"class": type(one).__name__}}
        for one in _causes(error)
    ]


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: list[BaseException] = []
    following: BaseException | None = error
    while following is not None and following not in seen and len(seen) < _MOST:
        seen.append(following)
        yield following
        hidden = following.__suppress_context__
        following = following.__cause__ or (None if hidden else following.__context__)


def _frames(trace: TracebackType | None) -> Iterator[dict[str, Any]]:
    frames = []
    while trace is not None:
        frames.append((trace.tb_frame.f_globals.get("__name__"), trace))
        trace = trace.tb_next
    for name, one in frames[-_MOST_FRAMES:]:
        module = name if isinstance(name, str) else ""
        if module == "agent" or module.startswith("agent."):
            yield {
                "filename": module.replace(".", "/") + ".py",
                "lineno": one.tb_lineno,
                "method": one.tb_frame.f_code.co_name,
            }
        else:
            yield {"filename": _library(module)}


def _library(module: str) -> str:
    """Return the name of the package that a module is of; `elsewhere` for what is none that art32
    brings along: a name of somebody's own may say anything."""
    package = module.partition(".")[0]
    return package if package in sys.stdlib_module_names or package in _BROUGHT else "elsewhere"


_BROUGHT = frozenset(
    (
        *("backports", "boto3", "botocore", "click", "hyperscan", "psutil", "pydantic"),
        *("pydantic_core", "requests", "rollbar", "s3transfer", "urllib3", "watchdog"),
    )
)


def place(error: Art32Error) -> str | None:
    """Return where in art32 an error was raised, as `agent.backup.make:33`."""
    found = None
    trace = error.__traceback__
    while trace is not None:
        name = str(trace.tb_frame.f_globals.get("__name__", ""))
        if name.startswith("agent."):
            found = f"{name}:{trace.tb_lineno}"
        trace = trace.tb_next
    return found
