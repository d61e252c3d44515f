"""Runs a Pulumi program without engine, plug-in or account, and returns its graph.

Pulumi's mocks drop every resource option; a monitor of our own keeps the raw registration:
protect, retain, dependencies by property, secrets, the place in the program. Whatever a deployment
would compute becomes a marker (see `infra.graph`), which Pulumi's own outputs carry to every place
of use.
"""

from __future__ import annotations

import contextlib
import gc
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import pulumi
from pulumi.runtime import mocks, rpc
from pulumi.runtime.settings import get_root_resource, set_root_resource

from infra.graph import Graph, Json, Resource

__all__ = ["Graph", "Resource", "capture"]

ROOT = Path(__file__).resolve().parent.parent
_STACK = "pulumi:pulumi:Stack"
_ELEMENTS = 3  # of a computed list of strings: SES has three DKIM tokens, a zone four name servers
_DEPTH = 2  # of computed objects in objects; some types contain themselves


def capture(
    program: Callable[[], object],
    *,
    project: str = "art32",
    stack: str = "test",
    config: Mapping[str, str] | None = None,
) -> Graph:
    """Run a program and return its resources, sorted by URN, whatever order they came in.

    The graph's outputs are what the program exported and what it returned, when that is a mapping
    or a dataclass. `config` is the stack's raw configuration (`art32:profile`) for a program that
    reads it itself. Two resources of one URN are a ValueError; an exception of the program, also
    one in a late `apply`, passes through.
    """
    monitor = _Monitor(stack, project)
    set_root_resource(None)  # type: ignore[arg-type]  # else the stack of an earlier capture stays
    mocks.set_mocks(monitor.mocks, project=project, stack=stack, preview=False, monitor=monitor)
    pulumi.runtime.set_all_config(dict(config or {}))
    returned: dict[str, Any] = {}

    @mocks.test  # type: ignore[untyped-decorator]  # waits until every registration and every apply is through
    def run() -> pulumi.Output[None]:
        result = program()
        root = get_root_resource()
        exported: dict[str, Any] = dict(getattr(root, "outputs", {}))
        if is_dataclass(result) and not isinstance(result, type):
            exported |= {name: getattr(result, name) for name in result.__dataclass_fields__}
        elif isinstance(result, Mapping):
            exported |= result
        return pulumi.Output.all(*(_resolved(key, exported[key]) for key in exported)).apply(
            lambda resolved: returned.update({key: (v, s) for key, v, s in resolved})
        )

    with _without_collections():
        run()
    urns = [one.urn for one in monitor.registered]
    twice = sorted({urn for urn in urns if urns.count(urn) > 1})
    if twice:
        raise ValueError(f"two resources share a URN: {', '.join(twice)}")
    return Graph(
        project=project,
        stack=stack,
        resources=tuple(sorted(monitor.registered, key=lambda one: one.urn)),
        outputs={key: _plain(value) for key, (value, _) in sorted(returned.items())},
        secret_outputs=tuple(sorted(key for key, (_, secret) in returned.items() if secret)),
        invokes=tuple(sorted(set(monitor.mocks.invoked))),
    )


@contextlib.contextmanager
def _without_collections() -> Iterator[None]:
    """Let no garbage be collected meanwhile: of hundreds of thousands of objects nearly all stay
    until the end, and to look through them over and over takes longer than to make them."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _resolved(key: str, value: Any) -> pulumi.Output[tuple[str, Any, bool]]:
    output = pulumi.Output.from_input(value)

    async def with_secrecy() -> tuple[str, Any, bool]:
        secret = await output.is_secret()
        return key, await output.future(), secret

    return pulumi.Output.from_input(with_secrecy())


def _plain(value: Any) -> Json:
    """Return a value as JSON; a resource is its URN, an asset its path or text."""
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(one) for one in value]
    if isinstance(value, pulumi.FileAsset | pulumi.FileArchive):
        return {"asset": _place(str(value.path))}
    if isinstance(value, pulumi.StringAsset):
        return {"text": str(value.text)}
    if isinstance(value, pulumi.AssetArchive):
        return {"archive": _plain(value.assets)}
    if isinstance(value, pulumi.Resource):
        return {"resource": value.__class__.__name__}
    if is_dataclass(value) and not isinstance(value, type):
        return _plain(asdict(value))
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if value is None or isinstance(value, str | bool | int | float):
        return value
    return str(value)


def _open(value: Any, path: str, secrets: list[str]) -> Any:
    """Return a value with its secret envelopes opened, their paths noted."""
    if rpc.is_rpc_secret(value):
        inner = rpc.unwrap_rpc_secret(value)
        if inner is not None:  # the SDK wraps what is always secret, given or not
            secrets.append(path)
        return _open(inner, path, [])
    if isinstance(value, dict):
        return {
            key: _open(one, f"{path}.{key}" if path else key, secrets) for key, one in value.items()
        }
    if isinstance(value, list):
        return [_open(one, f"{path}.{index}", secrets) for index, one in enumerate(value)]
    return value


def _place(file: str) -> str:
    path = Path(file.removeprefix("file://"))
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else path.name


class _Monitor(mocks.MockMonitor):
    """Keeps every registration as the engine would have received it."""

    mocks: _Mocks

    def __init__(self, stack: str, project: str) -> None:
        super().__init__(_Mocks())
        self.registered: list[Resource] = []
        self.prefix = f"urn:pulumi:{stack}::{project}::"

    def make_urn(self, parent: str, type_: str, name: str) -> str:
        """Return the URN that the engine would give: with all ancestors' types, not the last."""
        kind = parent.split("::")[2] if parent else _STACK
        return f"{self.prefix}{type_ if kind == _STACK else f'{kind}${type_}'}::{name}"

    def RegisterResource(self, request: Any) -> Any:  # noqa: N802 - the SDK's name
        response = super().RegisterResource(request)  # type: ignore[no-untyped-call]
        if request.type != _STACK:
            secrets: list[str] = []
            raw = rpc.deserialize_properties(request.object, keep_unknowns=True)
            self.registered.append(
                Resource(
                    urn=response.urn,
                    type=request.type,
                    name=request.name,
                    custom=request.custom,
                    parent="" if f"::{_STACK}::" in request.parent else request.parent,
                    inputs=_plain(_open(raw, "", secrets)),
                    protect=request.protect,
                    retain=request.retainOnDelete,
                    delete_before_replace=request.deleteBeforeReplace,
                    ignore_changes=tuple(request.ignoreChanges),
                    replace_on_changes=tuple(request.replaceOnChanges),
                    aliases=(
                        *request.aliasURNs,
                        *(one.urn or one.spec.name for one in request.aliases),
                    ),
                    import_id=request.importId,
                    dependencies=tuple(sorted(request.dependencies)),
                    property_dependencies={
                        key: tuple(sorted(value.urns))
                        for key, value in sorted(request.propertyDependencies.items())
                    },
                    provider=request.provider.split("::@@")[0],
                    secrets=tuple(sorted(secrets)),
                    source=_source(request),
                )
            )
        return response


def _source(request: Any) -> str:
    """Return the innermost place that belongs to the program and not to a library."""
    for frame in [one.pc for one in request.stackTrace.frames] or [request.sourcePosition]:
        path = Path(frame.uri.removeprefix("file://"))
        if "site-packages" not in path.parts:
            return f"{_place(str(path))}:{frame.line}"
    return ""


class _Mocks(mocks.Mocks):
    """Answers with markers for what a provider would compute."""

    def __init__(self) -> None:
        self.invoked: list[str] = []

    def call(self, args: mocks.MockCallArgs) -> dict[str, Any]:  # type: ignore[override]
        self.invoked.append(args.token)
        return {}

    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str | None, dict[str, Any]]:
        state = dict(args.inputs)
        if not args.custom:
            return "", state
        prefix = f"@@{args.typ}::{args.name}::"
        for key, kind in _computed(args.typ).items():
            state[key] = _completed(state.get(key), kind, prefix, key)
        state.pop("id", None)
        return f"{prefix}id@@", state


def _completed(given: Any, kind: Any, prefix: str, path: str) -> Any:
    """Return what was given, with markers for what is computed beside it."""
    if given is None:
        return _marked(kind, prefix, path)
    if isinstance(given, dict) and isinstance(kind, dict) and not rpc.is_rpc_secret(given):
        return given | {
            key: _completed(given.get(key), one, prefix, f"{path}.{key}")
            for key, one in kind.items()
        }
    return given


def _marked(kind: Any, prefix: str, path: str) -> Any:
    if kind == "list":
        return [f"{prefix}{path}[{index}]@@" for index in range(_ELEMENTS)]
    if isinstance(kind, dict):
        return {key: _marked(one, prefix, f"{path}.{key}") for key, one in kind.items()}
    if isinstance(kind, list):
        return [_marked(kind[0], prefix, f"{path}[0]")]
    return f"{prefix}{path}@@"


@cache
def _computed(token: str) -> Mapping[str, Any]:
    """Return what a resource computes, from the SDK's own class: its outputs that are never unset.

    "string", "list" (of strings), or a mapping or one-element list for nested objects. A whole
    number (a launch template's newest version) is a marker too, for it ends in strings; switches
    stay unset.
    """
    package, _, rest = token.partition(":")
    module, _, name = rest.rpartition(":")
    if package != "aws":
        return {}
    library = sys.modules["pulumi_aws"]
    owner = getattr(library, {"lambda": "lambda_"}.get(m := module.split("/")[0], m), library)
    cls = getattr(owner, name, None)
    return {} if cls is None else _outputs(cls)


def _outputs(cls: type, depth: int = 0) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for _, member in inspect.getmembers(cls, lambda one: isinstance(one, property)):
        hint = get_type_hints(member.fget).get("return")
        kind = _kind(get_args(hint)[0] if get_origin(hint) is pulumi.Output else hint, depth)
        if kind is not None:
            found[getattr(member.fget, "_pulumi_name", member.fget.__name__)] = kind
    return found


def _kind(hint: Any, depth: int) -> Any:
    if hint is str or (hint is int and not depth):
        return "string"
    arguments = [one for one in get_args(hint) if one is not type(None)]
    if get_origin(hint) in (Union, Literal):
        # everything inside a computed object is declared as optional; outside, optional is unset
        return _kind(arguments[0], depth) if depth and len(arguments) == 1 else None
    if isinstance(hint, type) and hasattr(hint, "_pulumi_output_type"):
        return (_outputs(hint, depth + 1) or None) if depth < _DEPTH else None
    if len(arguments) == 1:
        element = _kind(arguments[0], depth)
        return "list" if element == "string" else [element] if element else None
    return None
