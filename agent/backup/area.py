"""Areas of a store: backups at its top, segments of logs under `logs/`.

Both have the same wire format, the same keys, one ledger and one sequence of a host. They stand
apart because logs may go by a lifecycle rule, which must never reach a backup.
"""

from __future__ import annotations

from dataclasses import dataclass

from agent.config.model import Configuration


@dataclass(frozen=True)
class Area:
    """A directory below the store's prefix, the first word of its events in the ledger, what is in
    it, in the plural, and the group of its verbs."""

    directory: str
    word: str
    things: str
    group: str

    @property
    def key(self) -> str:
        """Under which key of a JSON document they stand."""
        return self.things.partition(" ")[0]

    @property
    def listing(self) -> str:
        """The command line that lists it."""
        return f"art32 {self.group} list"

    def event(self, what: str) -> str:
        """Return the name of an event of this area, as in `backup-complete`."""
        return f"{self.word}-{what}"


BACKUPS = Area("", "backup", "backups", "backup")
LOGS = Area("logs", "log", "segments of logs", "logs")
AREAS = (BACKUPS, LOGS)


def within(config: Configuration, area: Area) -> Configuration:
    """Return the configuration whose store, and whose retention, are those of the area.

    The list of pinned hosts is one for all areas.
    """
    if area == BACKUPS:
        return config
    pins = config.pins
    if pins.prefix is None:
        pins = pins.model_copy(update={"prefix": config.store.prefix})
    prefix = "/".join(part for part in (config.store.prefix, area.directory) if part)
    store = config.store.model_copy(update={"prefix": prefix})
    days = config.logs.retention.days
    retention = config.retention.model_copy(update={"days": days, "minimum_backups": 0})
    return config.model_copy(update={"store": store, "retention": retention, "pins": pins})
