"""Snapshots of a stack's databases and volumes at AWS: what there is, and what a restore takes.

Reads AWS and the stack's `Pulumi.<stack>.yaml`; changes nothing. The commands of a plan are for
people.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

Kind = Literal["rds", "ebs"]
COMPONENTS = ("db", "mail", "web")
"""What can have generations; each is the beginning of its keys: `dbGenerations`, `dbActive`."""


@dataclass(frozen=True)
class Snapshot:
    """One snapshot that a generation could be made from.

    `id` is what the stack's configuration takes; `origin` is who made it; `size` in GiB of the
    volume or database, not of what is billed; `kept_until` is when AWS deletes it, None when nobody
    knows or nothing does; `key` is the ARN of the key it is encrypted under.
    """

    id: str
    kind: Kind
    origin: Literal["automated", "manual", "aws backup"]
    component: str
    generation: str | None
    taken_at: datetime
    size: int
    encrypted: bool
    state: str
    region: str
    arn: str
    key: str | None = None
    kept_until: datetime | None = None
    engine_version: str | None = None

    @property
    def usable(self) -> bool:
        """Whether AWS has finished it."""
        return self.state in ("available", "completed")

    @property
    def name(self) -> str:
        """Return component and generation that it is of, as in `db-g1`."""
        return "-".join(filter(None, (self.component, self.generation)))


def number(generation: str) -> int:
    """Return the number of a generation: 2 of `g2`, of `g2=SNAPSHOT` and of `g2@ZONE=SNAPSHOT`.

    Raise ValueError when it is none.
    """
    found = re.match(r"g([1-9][0-9]{0,3})(?=[@=]|$)", generation)
    if found is None:
        raise ValueError(generation)
    return int(found[1])
