"""What of an archive a store holds. Nothing is judged here: a listing proves no content."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from agent.backup.wal import place
from agent.backup.wal.place import Place
from agent.store import Store


@dataclass(frozen=True)
class Entry:
    """An object of an archive; several may have the same place."""

    place: Place
    object_name: str
    size: int
    stored_at: datetime
    retained_until: datetime | None = None


def entries(
    archive: Store,
    *,
    host: str | None = None,
    system_id: int | None = None,
    timeline: int | None = None,
) -> Iterator[Entry]:
    """Yield the objects of an archive (`place.open_archive`) in order of their names.

    Each of the three is useless without those before it. Foreign names are left out.
    Raise what the store's listing raises.
    """
    prefix = ""
    if host is not None:
        prefix = f"{host}/"
        if system_id is not None:
            prefix += f"{system_id}/"
            if timeline is not None:
                prefix += f"{timeline:08X}/"
    yield from _below(archive, prefix)


def of(archive: Store, wanted: Place) -> list[Entry]:
    """Return the objects of one file; none means that the store, asked, has none."""
    return [one for one in _below(archive, f"{wanted.path}-") if one.place == wanted]


def _below(archive: Store, prefix: str) -> Iterator[Entry]:
    for stored in archive.list(prefix):
        found = place.parse(stored.name)
        if found is not None:
            yield Entry(found, stored.name, stored.size, stored.stored_at, stored.retained_until)
