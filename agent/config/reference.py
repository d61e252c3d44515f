"""Documents generated from the configuration's model: the sample file and the values in effect."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from agent.config import drill, health, sources
from agent.config.logs_pipe import LogPipe
from agent.config.logs_rotate import LogRetention, RotatedLog
from agent.config.logs_scrub import Scrub
from agent.config.model import (
    Configuration,
    DirectoryStore,
    PinnedKey,
    Pins,
    Recipient,
    Restore,
    Retention,
    S3Store,
    Signer,
    Signing,
    Wal,
)
from agent.config.report import Report
from agent.config.service import Service

_ESCROW = {
    "name": '"escrow"',
    "fingerprint": '"FEDCBA9876543210FEDCBA9876543210FEDCBA98"',
    "key_file": '"/etc/art32/escrow.asc"',
}
_SECTIONS: tuple[tuple[str, type[BaseModel], dict[str, str]], ...] = (
    ("[store]", S3Store, {"kind": '"s3"'}),
    ("[store]", DirectoryStore, {"kind": '"directory"'}),
    (
        "[signing]",
        Signing,
        {"fingerprint": '"89ABCDEF0123456789ABCDEF0123456789ABCDEF"'},
    ),
    ("[[encryption.recipients]]", Recipient, {}),
    ("[[encryption.recipients]]", Recipient, _ESCROW),
    ("[[signers]]", Signer, {"host": '"web1"', "key_file": '"/etc/art32/web1.asc"'}),
    ("[pins]", Pins, {}),
    ("[[pins.roots]]", PinnedKey, {"key_file": '"/etc/art32/root.asc"'}),
    ("[retention]", Retention, {}),
    ("[restore]", Restore, {}),
    ("[wal]", Wal, {}),
    (
        "[wal.signing]",
        Signing,
        {
            "fingerprint": '"0123456789ABCDEF89ABCDEF0123456789ABCDEF"',
            "key_file": '"/run/credentials/art32-wal.service/art32.wal-signing-key"',
        },
    ),
    ("[drill]", drill.Drill, {}),
    ("[health]", health.Health, {}),
    ("[[health.listeners]]", health.Listener, {"port": "443"}),
    ("[[health.certificates]]", health.Certificate, {"server": '"www.example.org:443"'}),
    ("[[drill.checks]]", drill.DrillCheck, {"source": '"app"'}),
    ("[logs.scrub]", Scrub, {}),
    ("[[logs.pipes]]", LogPipe, {}),
    ("[[logs.rotate]]", RotatedLog, {"preset": '"nginx"'}),
    ("[logs.retention]", LogRetention, {}),
    ("[service]", Service, {}),
    ("[report]", Report, {}),
    ("[[sources]]", sources.PostgreSQLSource, {"kind": '"postgresql"', "name": '"app"'}),
    ("[[sources]]", sources.BaseBackupSource, {"kind": '"basebackup"', "name": '"server"'}),
    ("[[sources]]", sources.MySQLSource, {"kind": '"mysql"', "name": '"shop"'}),
    ("[[sources]]", sources.SQLiteSource, {"kind": '"sqlite"', "name": '"tickets"'}),
    ("[[sources]]", sources.DirectorySource, {"kind": '"directory"', "name": '"uploads"'}),
    ("[[sources]]", sources.CommandSource, {"kind": '"command"', "name": '"export"'}),
)
_WIDTH = 96


def sample() -> str:
    """Return a commented configuration that shows every key once for each section.

    Required keys stand with an example, optional ones are commented out.
    """
    lines = ["# Art32's agent. Every key with its meaning; what is commented out is optional.", ""]
    for name in ("host", "state_directory"):
        lines += _key(name, Configuration.model_fields[name])
    seen: set[str] = set()
    for head, model, examples in _SECTIONS:
        off = "#" if head in seen and not head.startswith("[[") else ""
        seen.add(head)
        lines += ["", *_wrapped((model.__doc__ or "").split("\n\n")[0]), f"{off}{head}"]
        for name, info in model.model_fields.items():
            if _is_of_tables(info):
                continue  # they have sections of their own
            if name in examples:
                lines += [*_wrapped(info.description or ""), f"{off}{name} = {examples[name]}"]
            else:
                lines += [
                    f"{off}{line}" if not line.startswith("#") else line
                    for line in _key(name, info)
                ]
    return "\n".join(lines) + "\n"


def _is_of_tables(info: FieldInfo) -> bool:
    return any(
        isinstance(one, type) and issubclass(one, BaseModel)
        for one in (info.annotation, *get_args(info.annotation))
    )


def _key(name: str, info: FieldInfo) -> list[str]:
    lines = _wrapped(info.description or "")
    value = info.examples[0] if info.examples else info.get_default(call_default_factory=True)
    prefix = "" if info.is_required() else "#"
    lines.append(f"{prefix}{name} = {toml_value(value)}")
    return lines


def toml_value(value: Any) -> str:
    """Return a plain value as TOML; None as an empty string, which stands commented out."""
    if value is None:
        return '""'
    if isinstance(value, Path):
        value = str(value)
    if isinstance(value, tuple):
        value = list(value)
    return json.dumps(value, ensure_ascii=False, default=str)


def _wrapped(text: str) -> list[str]:
    lines, current = [], "#"
    for word in text.split():
        if len(current) + len(word) + 1 > _WIDTH:
            lines.append(current)
            current = "#"
        current += f" {word}"
    return [*lines, current] if current != "#" else lines


def effective(config: Configuration) -> list[tuple[str, str, str]]:
    """Return (key, value, origin) of every value in effect; the origin is `file` or `default`.

    The file holds paths and names only, no secrets, so that nothing needs to be left out.
    """
    return list(_walk("", config))


def _walk(prefix: str, section: BaseModel) -> Iterator[tuple[str, str, str]]:
    for name in type(section).model_fields:
        value = getattr(section, name)
        key = f"{prefix}{name}"
        origin = "file" if name in section.model_fields_set else "default"
        if isinstance(value, BaseModel):
            yield from _walk(f"{key}.", value)
        elif isinstance(value, tuple) and value and isinstance(value[0], BaseModel):
            for index, item in enumerate(value):
                yield from _walk(f"{key}[{index}].", item)
        elif value is not None:
            yield key, toml_value(value), origin
