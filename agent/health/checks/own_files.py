"""art32's own files: what others could read or change must be nobody's but ours."""

from __future__ import annotations

import grp
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from agent.health.checks import Situation
from agent.health.result import Result, State

_GROUP = "art32"


def look(situation: Situation) -> Iterator[Result]:
    config = situation.config
    private = [config.state_directory]
    if config.signing is not None:
        private.append(config.signing.key_file)
    public = [
        one.key_file
        for one in (*(config.encryption.recipients if config.encryption else ()), *config.signers)
    ]
    wrong = [f"`{path}` can be read by others" for path in private if _open_to_others(path, 0o077)]
    wrong += [
        f"`{path}` can be changed by others" for path in public if _open_to_others(path, 0o022)
    ]
    if wrong:
        yield Result(
            "own-files",
            State.FAIL,
            "; ".join(wrong),
            hint="chmod go-rwx for what is private, go-w for what is public",
            runbook="host-compromised",
        )
    else:
        yield Result(
            "own-files", State.OK, f"{len(private) + len(public)} paths have the right modes"
        )


def _open_to_others(path: Path, mask: int) -> bool:
    try:
        found = path.stat()
    except OSError:
        return False  # whoever needs it says that it is missing
    if _shared(found):
        mask &= 0o007
    return bool(stat.S_IMODE(found.st_mode) & mask) or found.st_uid not in (0, os.geteuid())


def _shared(found: os.stat_result) -> bool:
    """Whether it is a directory that the units share, as the package makes it."""
    try:
        own = grp.getgrnam(_GROUP).gr_gid
    except KeyError:
        return False
    return bool(found.st_mode & stat.S_ISGID) and found.st_gid == own
