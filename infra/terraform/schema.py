"""What the conversion must know about Terraform's types, in a form small enough to commit.

`schema.json` holds the types and keys that this program uses. `scripts/terraform_schema.py` writes
it anew from `terraform providers schema -json`, where Terraform and the provider are at hand.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("schema.json")
_WHOLE = 2  # so deep blocks are kept whole; a web ACL's statements nest without end


@dataclass(frozen=True)
class Block:
    """One level of a type: the type of each attribute, and the blocks in it.

    `single` says that the block is an object and not a list of them.
    """

    attributes: Mapping[str, Any]
    blocks: Mapping[str, Block]
    single: bool = False


Schema = Mapping[str, Block]


@cache
def load(file: Path = FILE) -> Schema:
    """Return the committed extract."""
    return parse(json.loads(file.read_text()))


def parse(data: Mapping[str, Any]) -> Schema:
    """Return the schema that the extract's own form stands for."""
    return {name: _block(one) for name, one in data.items()}


def _block(data: Mapping[str, Any]) -> Block:
    return Block(
        attributes=data.get("attributes", {}),
        blocks={name: _block(one) for name, one in data.get("blocks", {}).items()},
        single=data.get("single", False),
    )


def from_provider(text: str) -> dict[str, Any]:
    """Return all of `terraform providers schema -json` in the form of the extract."""
    (provider,) = json.loads(text)["provider_schemas"].values()
    return {name: _reduce(one["block"]) for name, one in provider["resource_schemas"].items()}


def _reduce(block: Mapping[str, Any]) -> dict[str, Any]:
    attributes, blocks = {}, {}
    for name, one in block.get("attributes", {}).items():
        if "nested_type" in one:
            blocks[name] = _reduce(one["nested_type"])
            if one["nested_type"]["nesting_mode"] == "single":
                blocks[name]["single"] = True
        else:
            attributes[name] = one["type"]
    for name, one in block.get("block_types", {}).items():
        blocks[name] = _reduce(one["block"])
        if one["nesting_mode"] == "single":
            blocks[name]["single"] = True
    return {"attributes": attributes, **({"blocks": blocks} if blocks else {})}


def extract(full: Mapping[str, Any], types: Iterable[str], used: Iterable[str]) -> str:
    """Return the extract as text: some types, and deep in them only what is used.

    `used` are paths such as `aws_wafv2_web_acl.rule.statement`.
    """
    wanted = {path.rpartition(".")[0] for path in used} | set(used)

    def prune(block: Mapping[str, Any], path: str, depth: int) -> dict[str, Any]:
        kept = dict(block)
        if "blocks" in block:
            kept["blocks"] = {
                name: prune(one, f"{path}.{name}", depth + 1)
                for name, one in block["blocks"].items()
                if depth < _WHOLE or f"{path}.{name}" in wanted
            }
        return kept

    lines = [
        f"{json.dumps(name)}:{json.dumps(prune(full[name], name, 0), separators=(',', ':'))}"
        for name in sorted(types)
    ]
    return "{\n" + ",\n".join(lines) + "\n}\n"
