"""The agent's configuration of a duty, rendered from the agent's own model.

It is checked before anything is made: a stack whose machines would refuse their configuration does
not get past its preview. It holds names, places and fingerprints and no secret: what is secret is
named by a path below `/etc/credstore`, which the machine fills itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from agent.config import load
from agent.config.model import Configuration
from agent.config.reference import toml_value
from agent.config.service import units
from infra import naming, reachability
from infra.config.model import InfraConfig

BACKUP_USER = "art32_backup"
"""The database role that dumps: it reads everything and changes nothing."""
REPLICATION_USER = "art32_replication"
"""The database role that copies a server as a whole, file by file."""
MONITOR_USER = "art32_monitor"
"""The database role that sees how the server does, and no data."""
ROLLBAR = "rollbar"
"""The end of the name of the secret with Rollbar's token."""
ROLLBAR_FILE = "/etc/credstore/art32.rollbar-token"
DATABASE = "app"
"""The database that a fresh managed instance has."""
UNKNOWN_ADDRESS = "database.invalid"
"""Stands for the managed database's address where only its creation would tell it (RFC 6761)."""
RDS_CERTIFICATES = "/etc/art32/rds-ca.pem"
PUBLIC_KEYS = "/etc/art32/public-keys"
RESTORER_HOME = "/var/lib/art32/gnupg"
_DRILLS = "/var/lib/art32-drill/engines"
_SOCKETS = "/var/run/postgresql"
_ROLES = {"keeper": "keeper", "restorer": "restorer"}
_OWN_UNITS = {
    "web": ("nginx.service",),
    "db": ("postgresql@15-main.service",),
    "mail": ("opendkim.service", "postfix@-.service"),
}
_MOUNTS = {"web": "/srv", "db": "/var/lib/postgresql", "mail": "/var/spool/postfix"}


def render(config: InfraConfig, duty: str, database: str = UNKNOWN_ADDRESS) -> str:
    """Return `agent.toml` of a duty; raise Art32Error when the agent would refuse it.

    `database` is the address of the managed database, for the duty that dumps it.
    """
    configuration(config, duty)
    document = _document(config, duty, database)
    head = f"# Rendered by the stack `{config.stack}`; changes here last until the next release.\n"
    return head + "\n".join(_toml(document)) + "\n"


def configuration(config: InfraConfig, duty: str) -> Configuration:
    """Return what the agent reads from the file of a duty."""
    return load.parse(_document(config, duty, UNKNOWN_ADDRESS), origin=f"agent.toml of {duty}")


def enabled_units(config: InfraConfig, duty: str) -> tuple[str, ...]:
    """Return the agent's units that a machine of a duty runs."""
    return units(configuration(config, duty))


def backed_up(config: InfraConfig) -> tuple[str, ...]:
    """Return the duties that have something to back up: a stateless machine has only logs."""
    return tuple(duty for duty in config.duties if any(_sources(config, duty, UNKNOWN_ADDRESS)))


def reporting(config: InfraConfig) -> tuple[str, ...]:
    """Return the duties that send errors to Rollbar: all that reach the internet, if asked for."""
    return tuple(one for one in config.duties if one != "restorer") if config.rollbar else ()


def _expected(config: InfraConfig) -> list[str]:
    return [
        f"{duty}/{source['name']}"
        for duty in config.duties
        for source in _sources(config, duty, UNKNOWN_ADDRESS)
    ]


def _document(config: InfraConfig, duty: str, database: str) -> dict[str, Any]:
    role = _ROLES.get(duty, "writer")
    document: dict[str, Any] = {
        "host": duty,
        "store": {
            "kind": "s3",
            "bucket": naming.bucket(config, "backups"),
            "prefix": config.stack,
            "region": config.region,
        },
        "retention": {"days": config.backup.days},
        "logs": {"retention": {"days": config.log_days}},
        "service": {"role": role, "cloudwatch_namespace": naming.host_namespace(config)},
        "health": _health(config, duty),
    }
    if role == "writer":
        document["signing"] = {"key_file": "/etc/credstore/art32.signing-key"}
        document["encryption"] = {
            "recipients": [
                {"name": name, **_public_key(fingerprint)}
                for name, _, fingerprint in (one.partition("=") for one in config.backup.recipients)
            ]
        }
        document["logs"]["rotate"] = list(_logs(duty))
        document["sources"] = list(_sources(config, duty, database))
    else:
        document["pins"] = {"roots": [_public_key(one) for one in config.backup.roots]}
        document["service"]["hosts"] = list(backed_up(config))
    if duty == "db":
        document["wal"] = {
            "source": "databases",
            "monitor": MONITOR_USER,
            "signing": {"key_file": "/etc/credstore/art32.wal-signing-key"},
        }
    if role == "keeper":
        document["service"]["keeper_namespace"] = naming.metric_namespace(config)
        document["service"]["expected"] = _expected(config)
    if role == "restorer":
        document["restore"] = {"gnupg_home": RESTORER_HOME, "engine_user": "art32-engine"}
        document["drill"] = {"directory": _DRILLS, "note": True}
    if duty in reporting(config):
        document["report"] = {"token_file": ROLLBAR_FILE, "environment": config.stack}
    return document


def _public_key(fingerprint: str) -> dict[str, str]:
    return {"fingerprint": fingerprint, "key_file": f"{PUBLIC_KEYS}/{fingerprint}.asc"}


def _sources(config: InfraConfig, duty: str, database: str) -> Iterator[dict[str, Any]]:
    if duty == "web" and config.web.data == "volume":
        yield {
            "name": "data",
            "kind": "directory",
            "path": _MOUNTS["web"],
            "exclude": ["./lost+found"],
        }
    if duty == "db":
        yield {
            "name": "databases",
            "kind": "postgresql",
            "host": _SOCKETS,
            "user": BACKUP_USER,
        }
        yield {
            "name": "server",
            "kind": "basebackup",
            "host": _SOCKETS,
            "user": REPLICATION_USER,
        }
    if duty == "dumper":
        yield {
            "name": DATABASE,
            "kind": "postgresql",
            "database": DATABASE,
            "host": database,
            "user": BACKUP_USER,
            "ssl_root_certificate": RDS_CERTIFICATES,
            "rds_iam_region": config.region,
        }


def _logs(duty: str) -> Iterator[dict[str, Any]]:
    if duty == "web":
        for name in ("access", "error"):
            path = f"/var/log/nginx/{name}.log"
            yield {"name": f"nginx-{name}", "path": path, "preset": "nginx", "every": "hour"}
    if duty == "db":
        yield {
            "name": "postgresql",
            "path": "/var/log/postgresql/postgresql.log",
            "preset": "postgresql",
            "pid_file": "/var/lib/postgresql/15/main/postmaster.pid",
        }
    if duty == "mail":
        yield {"name": "mail", "path": "/var/log/mail.log", "preset": "postfix", "every": "hour"}


def _health(config: InfraConfig, duty: str) -> Mapping[str, Any]:
    """Return what is true of a machine: the ports that the firewalls open, and its own units."""
    ports = sorted({flow.port for flow in reachability.flows(config) if flow.target == duty})
    listeners: list[dict[str, Any]] = [{"port": port} for port in ports]
    listeners.append({"port": 68, "protocol": "udp"})  # the network's address comes by DHCP
    mounts = ["/"]
    if duty in ("db", "mail") or (duty == "web" and config.web.data == "volume"):
        mounts.append(_MOUNTS[duty])
    watched = ["amazon-ssm-agent.service", *_OWN_UNITS.get(duty, ())]
    if duty != "restorer":  # it installs nothing of the distribution's
        watched += ["auditd.service", "nftables.service", "unattended-upgrades.service"]
    return {"mounts": mounts, "listeners": listeners, "units": sorted(watched)}


def _toml(table: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[str]:
    """Yield the lines of a table: its own keys first, or they would be those of a table below."""
    for key, value in table.items():
        if not _is_table(value) and not _is_tables(value):
            yield f"{key} = {toml_value(value)}"
    for key, value in table.items():
        name = ".".join((*path, key))
        if _is_table(value):
            yield from ("", f"[{name}]", *_toml(value, (*path, key)))
        elif _is_tables(value):
            for one in value:
                yield from ("", f"[[{name}]]", *_toml(one, (*path, key)))


def _is_table(value: object) -> bool:
    return isinstance(value, Mapping)


def _is_tables(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(map(_is_table, value))
