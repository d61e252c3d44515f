"""Areas of a store: backups at its top, segments of logs under `logs/`.

Both have the same wire format, the same keys, one ledger and one sequence of a host. They stand
apart because logs may go by a lifecycle rule, which must never reach a backup.
"""

from __future__ import annotations

from dataclasses import dataclass

from agent.config.model import Configuration


@dataclass(frozen=True)
class Area:
    """A directory below the store's prefix, and the first word of its events in the ledger."""

    directory: str
    word: str

    def event(self, what: str) -> str:
        """Return the name of an event of this area, as in `backup-complete`."""
        return f"{self.word}-{what}"


BACKUPS = Area("", "backup")
LOGS = Area("logs", "log")
AREAS = (BACKUPS, LOGS)


def within(config: Configuration, area: Area) -> Configuration:
    """Return the configuration whose store is that area of the configured one."""
    prefix = "/".join(part for part in (config.store.prefix, area.directory) if part)
    store = config.store.model_copy(update={"prefix": prefix})
    return config.model_copy(update={"store": store})
