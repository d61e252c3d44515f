"""Names of the objects of an archive, and nothing else.

`<host>/<system id>/<timeline>/<name>-<random>.pgp`, below the directory `wal` of the store's
prefix. The host comes first so that a bucket's policy lets each host write its own alone, and a
reader knows whose signature counts. The same file may be there twice, hence the random part: a
host that may only write cannot look.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass

from agent.backup.wal import names
from agent.backup.wal.names import Name
from agent.config.model import StoreConfig
from agent.store import Store, open_store

DIRECTORY = "wal"
_HOST = r"[a-z0-9][a-z0-9_.-]{0,62}"
_OBJECT = re.compile(
    rf"({_HOST})/([1-9][0-9]{{0,19}})/([0-9A-F]{{8}})/([0-9A-Fa-z.]{{16,41}})-([0-9a-f]{{16}})\.pgp"
)


@dataclass(frozen=True)
class Place:
    """Where the objects of one file of a write-ahead log stand.

    `system_id` is the database cluster's own number, decimal, as pg_controldata(1) prints it.
    """

    host: str
    system_id: int
    name: Name

    @property
    def directory(self) -> str:
        return f"{self.host}/{self.system_id}/{self.name.timeline:08X}"

    @property
    def path(self) -> str:
        """What every object of this file begins with, before the hyphen."""
        return f"{self.directory}/{self.name.text}"

    def new_object(self) -> str:
        """Return a name that no other object has: 64 random bits."""
        return f"{self.path}-{secrets.token_hex(8)}.pgp"

    def label(self, prefix: str) -> str:
        """Return what the signature binds: the place from the top of the store."""
        return "/".join(part for part in (prefix, DIRECTORY, self.path) if part)


def parse(object_name: str) -> Place | None:
    """Given an object's name, return its place; None for foreign names."""
    match = _OBJECT.fullmatch(object_name)
    name = names.parse(match[4]) if match else None
    if match is None or name is None or int(match[3], 16) != name.timeline:
        return None
    system_id = int(match[2])
    return Place(match[1], system_id, name) if system_id < 1 << 64 else None


def open_archive(config: StoreConfig) -> Store:
    """Given the `[store]` section, return the store in which these names are."""
    prefix = "/".join(part for part in (config.prefix, DIRECTORY) if part)
    return open_store(config.model_copy(update={"prefix": prefix}))
