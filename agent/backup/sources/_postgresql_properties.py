"""What belongs to a database itself and not to what is in it: settings, comment, rights, owner.

`pg_restore` takes them only with `--create`, as SQL that names the old database. Here they are data
of the backup's details, asked for in the snapshot of the dump, and the statements are made of them,
each part quoted: nothing that comes with a backup is run as it stands.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from agent.backup.sources import RestoreRequest
from agent.backup.sources._postgresql_target import Target, identifier, literal
from agent.errors import Art32Error

FACT = "properties"
# Default rights are null: everybody may connect and make temporary tables ("Privileges").
QUERY = """
SELECT pg_catalog.json_build_object('properties', pg_catalog.json_build_object(
    'owner', pg_catalog.pg_get_userbyid(d.datdba),
    'comment', pg_catalog.shobj_description(d.oid, 'pg_database'),
    'connection_limit', d.datconnlimit,
    'settings', (SELECT coalesce(pg_catalog.json_agg(pg_catalog.json_build_object(
            'role', CASE WHEN s.setrole <> 0 THEN pg_catalog.pg_get_userbyid(s.setrole) END,
            'values', s.setconfig) ORDER BY s.setrole), '[]')
        FROM pg_catalog.pg_db_role_setting s WHERE s.setdatabase = d.oid),
    'rights', CASE WHEN d.datacl IS NOT NULL THEN (
        SELECT coalesce(pg_catalog.json_agg(pg_catalog.json_build_object(
            'role', CASE WHEN a.grantee <> 0 THEN pg_catalog.pg_get_userbyid(a.grantee) END,
            'right', a.privilege_type, 'grantable', a.is_grantable)), '[]')
        FROM pg_catalog.aclexplode(d.datacl) a) END))
    FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database();
"""
_BY_DEFAULT = ("CONNECT", "TEMPORARY")
# Their values are lists of quoted names (GUC_LIST_QUOTE); one literal would become one name.
_LISTS = frozenset(
    (
        *("local_preload_libraries", "search_path", "session_preload_libraries"),
        *("shared_preload_libraries", "temp_tablespaces", "unix_socket_directories"),
    )
)
_NAME_IN_LIST = re.compile(r'\s*(?:"((?:[^"]|"")*)"|([^",]*?))\s*(?:,|$)')

_Text = Annotated[str, StringConstraints(pattern=r"^[^\x00]*$")]


class _Data(BaseModel):
    model_config = ConfigDict(frozen=True)


class Settings(_Data):
    """Settings as `name=value`, of the database or of one role in it."""

    role: _Text | None
    values: tuple[Annotated[_Text, StringConstraints(pattern="=")], ...]


class Right(_Data):
    """What one role, or everybody, may do with the database."""

    role: _Text | None
    right: Literal["CREATE", "CONNECT", "TEMPORARY"]
    grantable: bool


class Properties(_Data):
    """What the details say of a database; `rights` is None where they were never changed."""

    owner: _Text
    comment: _Text | None
    connection_limit: int
    settings: tuple[Settings, ...]
    rights: tuple[Right, ...] | None

    def of_everybody(self) -> frozenset[str]:
        """Return what every role may do."""
        if self.rights is None:
            return frozenset(_BY_DEFAULT)
        return frozenset(one.right for one in self.rights if one.role is None)

    def of_roles(self) -> list[Right]:
        """Return what single roles may do, besides the owner."""
        return [one for one in self.rights or () if one.role not in (None, self.owner)]

    def common(self) -> dict[str, object]:
        """Return what every restore brings back, as values to compare."""
        found: dict[str, object] = {
            "comment": self.comment,
            "connection limit": self.connection_limit,
            "rights of everybody": self.of_everybody() & set(_BY_DEFAULT),
        }
        for one in self.settings:
            if one.role is None:
                for name, _, value in (text.partition("=") for text in one.values):
                    found[f"setting `{name}`"] = value
        return found


@dataclass(frozen=True)
class _Statement:
    """`shown` is what a message may say of it: settings and comments may hold secrets."""

    sql: str
    shown: str


def read(facts: dict[str, object]) -> Properties | None:
    """Return what the facts of a backup say, None when that is nothing, or makes no sense."""
    try:
        return Properties.model_validate(facts.get(FACT))
    except ValidationError:
        return None


def closing(facts: dict[str, object], database: str) -> str:
    """Return SQL that takes from everybody what was taken in the old database, too."""
    found = read(facts)
    gone = set(_BY_DEFAULT) - found.of_everybody() if found is not None else ()
    return "".join(
        f"\nREVOKE {right} ON DATABASE {identifier(database)} FROM PUBLIC;"
        for right in sorted(gone)
    )


def apply(target: Target, database: str, request: RestoreRequest) -> None:
    """Give a restored database its settings and its comment, and with `owners` the rights and
    settings of single roles; warn of each that the server refuses."""
    found = read(request.facts)
    if found is None:
        request.warn("the backup does not say which settings, comment and rights its database had")
        return
    statements = list(_common(found, identifier(database)))
    if request.owners:
        statements += _of_roles(found, identifier(database))
    _run(target, database, statements, request)


def left_out(request: RestoreRequest) -> str:
    """Return the end of a sentence: whose rights and settings need `owners`; or nothing."""
    found = read(request.facts)
    if found is None or request.owners:
        return ""
    names = [*(one.role for one in found.of_roles()), *(one.role for one in found.settings)]
    roles = sorted({f"`{name}`" for name in names if name is not None})
    if not roles:
        return ""
    return f"; its grants to and settings for {', '.join(roles)} are left out without `--owners`"


def give(target: Target, request: RestoreRequest) -> None:
    """Give the finished database to its owner where the request says so; warn when refused."""
    found = read(request.facts)
    if request.owners and found is not None:
        name, owner = identifier(target.database), identifier(found.owner)
        sql = f"ALTER DATABASE {name} OWNER TO {owner};"
        _run(target, target.database, [_Statement(sql, sql)], request)


def _common(found: Properties, name: str) -> Iterator[_Statement]:
    if found.comment is not None:
        start = f"COMMENT ON DATABASE {name} IS"
        yield _Statement(f"{start} {literal(found.comment)};", f"{start} ...")
    if found.connection_limit != -1:
        sql = f"ALTER DATABASE {name} CONNECTION LIMIT {found.connection_limit};"
        yield _Statement(sql, sql)
    for one in found.settings:
        if one.role is None:
            yield from _settings(f"ALTER DATABASE {name}", one.values)


def _of_roles(found: Properties, name: str) -> Iterator[_Statement]:
    everybody = [one for one in found.rights or () if one.role is None]
    for one in (*everybody, *found.of_roles()):
        role = "PUBLIC" if one.role is None else identifier(one.role)
        option = " WITH GRANT OPTION" if one.grantable else ""
        sql = f"GRANT {one.right} ON DATABASE {name} TO {role}{option};"
        yield _Statement(sql, sql)
    for several in found.settings:
        if several.role is not None:
            start = f"ALTER ROLE {identifier(several.role)} IN DATABASE {name}"
            yield from _settings(start, several.values)


def _settings(start: str, values: Iterable[str]) -> Iterator[_Statement]:
    for text in values:
        name, _, value = text.partition("=")
        values = _names(value) if name.lower() in _LISTS else [value]
        to = ", ".join(literal(each) for each in values)
        shown = f"{start} SET {identifier(name)} TO"
        yield _Statement(f"{shown} {to};", f"{shown} ...")


def _names(value: str) -> list[str]:
    """Return the names of a list as the server keeps it (SplitGUCList)."""
    found, at = [], 0
    while match := _NAME_IN_LIST.match(value, at):
        quoted, plain = match.groups()
        found.append(plain if quoted is None else quoted.replace('""', '"'))
        if match.end() == len(value) and not match[0].endswith(","):
            return found
        at = match.end()
    return [value]


def _run(
    target: Target, database: str, statements: list[_Statement], request: RestoreRequest
) -> None:
    """Run all in one transaction, or, when one is refused, each by itself."""
    if not statements:
        return
    body = "\n".join(one.sql for one in statements)
    try:
        target.sql(f"BEGIN;\n{body}\nCOMMIT;")
    except Art32Error:
        for one in statements:
            try:
                target.sql(one.sql)
            except Art32Error:
                shown = one.shown.replace(identifier(database), identifier(target.database))
                request.warn(f"the server refused what the database had; as a superuser: {shown}")
