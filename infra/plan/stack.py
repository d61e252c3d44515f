"""From a stack's file to its graph: the program runs under mocks, nothing is asked of anybody."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from infra.build import build
from infra.capture import capture
from infra.config import ConfigError, InfraConfig, parse_file
from infra.graph import Graph, Resource
from infra.plan.problem import PlanError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def captured(stack: str, folder: Path) -> tuple[InfraConfig, Graph, Path]:
    """Return a stack's configuration, its graph, and the file that was read.

    That is `Pulumi.<stack>.yaml` in a folder, or the example of that name beside it. Raises
    PlanError for a stack that is not there or whose configuration has mistakes.
    """
    if not _NAME.fullmatch(stack):
        raise PlanError(f"`{stack}` is no name of a stack", "make plan STACK=prod")
    file = folder / f"Pulumi.{stack}.yaml"
    if not file.is_file():
        example = folder / f"Pulumi.{stack}.yaml.example"
        if not example.is_file():
            raise PlanError(f"there is no stack `{stack}`: no `{file.name}`", _known(folder))
        file = example
    try:
        config = parse_file(file, stack)
    except ConfigError as error:
        raise PlanError(str(error)) from error
    return config, capture(lambda: build(config), stack=stack), file


def _known(folder: Path) -> str:
    names = sorted(path.name.split(".")[1] for path in folder.glob("Pulumi.*.yaml*"))
    if not names:
        return "pulumi stack init prod, or copy an example to Pulumi.prod.yaml"
    return f"make plan STACK={names[0]} (there are: {', '.join(dict.fromkeys(names))})"


def redacted(graph: Graph) -> Graph:
    """Return a graph to save and to compare: what Pulumi would encrypt is not in it."""
    return replace(graph, resources=tuple(map(_without_secrets, graph.resources)))


def _without_secrets(one: Resource) -> Resource:
    tops = {path.split(".")[0] for path in one.secrets} & set(one.inputs)
    return replace(one, inputs={**one.inputs, **dict.fromkeys(tops, "[secret]")}) if tops else one
