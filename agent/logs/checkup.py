"""The logs' part of `art32 doctor`: what makes a scan slow, blind or dumb, and tokens brief."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator

from agent.backup.checkup import Finding
from agent.config.logs_scan import Scan
from agent.config.model import Configuration
from agent.errors import Art32Error, ExitStatus
from agent.logs.scan import bans, engine, rules
from agent.logs.scrub import shared_keys

_EXTRA = 'pip install "art32[logs]"'


def examine(config: Configuration) -> list[Finding]:
    """Return what was found; nothing of the scan where no log is followed and none of it is set."""
    logs = config.logs
    keys = list(_keys(config))
    if not logs.watch.files and "scan" not in logs.model_fields_set:
        return keys
    return [*keys, *_rules(logs.scan), *_engine(logs.scan), *_files(config), *_bans(logs.scan)]


def _keys(config: Configuration) -> Iterator[Finding]:
    settings = config.logs.scrub
    reason = shared_keys.unshared(config)
    directory = shared_keys.directory_of(settings)
    if reason is not None:
        units = shared_keys.UNITS_DIRECTORY
        if shared_keys.units_share():
            yield Finding(
                "log keys",
                True,
                f"Art32's own units share one a day in `{units}`; what else runs has its own",
            )
        else:
            hint = f'key_directory = "{units}" under [logs.scrub], made by the user who runs art32'
            yield Finding("log keys", None, reason, hint)
    elif settings.mode == "pseudonym" and directory is not None:
        try:
            shared_keys.SharedKeys(directory, backed_up=shared_keys.directories(config))
        except Art32Error as error:
            yield Finding("log keys", False, error.sentence, error.hint, error.exit_status)
        else:
            yield Finding("log keys", True, f"one a day for all processes, in `{directory}`")


def _rules(settings: Scan) -> Iterator[Finding]:
    try:
        found = rules.load(settings.rules_directory, settings.disabled_rules)
    except Art32Error as error:
        yield Finding("scan rules", False, error.sentence, error.hint, error.exit_status)
    else:
        yield Finding("scan rules", True, f"{len(found)} rules")


def _engine(settings: Scan) -> Iterator[Finding]:
    if settings.engine == "re" or engine.hyperscan_is_there():
        yield Finding("scan engine", True, "re" if settings.engine == "re" else "hyperscan")
    else:
        wanted = settings.engine == "hyperscan"
        yield Finding(
            "scan engine",
            False if wanted else None,
            "`hyperscan` is not installed: a scan finds the same and is far slower",
            _EXTRA,
            ExitStatus.CONFIGURATION,
        )
    if importlib.util.find_spec("watchdog") is None:
        yield Finding(
            "log events",
            None,
            "`watchdog` is not installed: a rotation is noticed by the clock alone",
            _EXTRA,
        )


def _files(config: Configuration) -> Iterator[Finding]:
    for one in config.logs.watch.files:
        found = sorted(one.path.parent.glob(one.path.name))
        unreadable = [path for path in found if not os.access(path, os.R_OK)]
        subject = f"log {one.path}"
        if not found:
            yield Finding(subject, None, "it is not there", "is the path right, and the daemon on?")
        elif unreadable:
            reason = f"`{unreadable[0]}` may not be read"
            hint = "run as root or group `adm`"
            yield Finding(subject, False, reason, hint, ExitStatus.PERMISSION)
        else:
            yield Finding(subject, True, f"{len(found)} files" if len(found) > 1 else one.format)


def _bans(settings: Scan) -> Iterator[Finding]:
    stopped = settings.directory / bans.STOPPED
    if settings.bans.mode != "off" and stopped.exists():
        yield Finding(
            "bans", None, "banning has stopped: too many in a minute", f"look, then rm {stopped}"
        )
