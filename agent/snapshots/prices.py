"""List prices, from the dated tables that `make plan` uses: `infra/plan/prices/<region>.toml`."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from agent.errors import Art32Error, Code
from agent.snapshots.stack import Stack

HOURS = 730
"""Hours in a month, as AWS's own calculator counts them."""


@dataclass(frozen=True)
class Price:
    """An amount for an hour or a month; `seen` if it was compared with a published list."""

    amount: float
    seen: bool


@dataclass(frozen=True)
class Prices:
    """A table with its place and its date; an empty one when there is none for the region."""

    path: Path
    as_of: str | None
    currency: str
    table: Mapping[str, Price]


def load(stack: Stack) -> Prices:
    """Return the prices of the stack's region beside its file; raise CONFIG_INVALID."""
    path = stack.project / "infra" / "plan" / "prices" / f"{stack.region}.toml"
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
        table = {
            item: Price(float(amount), seen=basis == "seen")
            for basis in ("remembered", "seen")
            for items in data.get(basis, {}).values()
            for item, amount in items.items()
        }
        return Prices(path, str(data["as_of"]), str(data["currency"]), table)
    except FileNotFoundError:
        return Prices(path, None, "USD", {})
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise Art32Error(
            Code.CONFIG_INVALID,
            f"the table of prices `{path}` cannot be read",
            hint="mend it, or take it away: then nothing is priced",
            runbook="snapshot-restore",
        ) from error
