"""Writes infra/terraform/schema.json anew: what the program uses of the AWS provider's schema.

scripts/terraform_schema.py SCHEMA

SCHEMA is what `terraform providers schema -json` printed, with hashicorp/aws at the version that
`infra.terraform.configuration.VERSION` names. Run it after the program uses a new type or block;
the tests say so (`unmapped`). It builds every stack of tests/infra/cases.py.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from infra.graph import Graph
from infra.terraform import schema
from infra.terraform.convert import convert
from infra.terraform.names import terraform_type
from tests.infra import cases


def main(arguments: list[str]) -> int:
    """Write the extract; return 2 when called wrongly and 1 when something has no counterpart."""
    if len(arguments) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    full = schema.from_provider(Path(arguments[0]).read_text())
    whole = schema.parse(full)
    graphs: list[Graph] = [cases.graph(case) for case in (*cases.PROFILES, *cases.PAIRS)]
    graphs += cases.extra_graphs()
    used: set[str] = set()
    types: set[str] = set()
    unmapped: set[str] = set()
    for graph in graphs:
        made = convert(graph, whole)
        used |= made.used
        types |= {one.type for one in made.items}
        unmapped |= set(made.unmapped)
        types |= {found for one in graph.resources if (found := terraform_type(one.type, whole))}
    schema.FILE.write_text(schema.extract(full, types, used))
    for path in sorted(unmapped):
        print(f"no counterpart: {path}", file=sys.stderr)
    return 1 if unmapped else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
