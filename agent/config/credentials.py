"""Secrets as systemd hands them over: systemd.exec(5), LoadCredential=; systemd-creds(1).

The configuration names a secret by a path, and never holds one. Under `/etc/credstore` that path
is root's alone. A unit has `LoadCredential=NAME`: systemd reads `/etc/credstore/NAME`, or decrypts
`/etc/credstore.encrypted/NAME`, into a directory that only this unit's processes see, and names it
in `$CREDENTIALS_DIRECTORY`. There the same configuration finds it. By hand, as root, the path is
what it says.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

STORE = Path("/etc/credstore")


def found(document: Any) -> Any:
    """Return a parsed document in which each path `/etc/credstore/NAME` is that of the credential
    NAME where this process was given one; all else is as it was."""
    directory = os.environ.get("CREDENTIALS_DIRECTORY")
    return _found(document, Path(directory)) if directory else document


def _found(value: Any, given: Path) -> Any:
    match value:
        case dict():
            return {key: _found(one, given) for key, one in value.items()}
        case list():
            return [_found(one, given) for one in value]
        case str():
            path = Path(value)
            if (
                path.parent == STORE
                and path.name not in ("", "..")
                and (given / path.name).exists()
            ):
                return str(given / path.name)
    return value
