"""Names of objects: what every store accepts, so that a backup can move between stores."""

from __future__ import annotations

from agent.errors import Art32Error, Code
from agent.files import TEMPORARY_PREFIX

NAME_BYTES = 900
PART_BYTES = 255


def is_valid(name: str) -> bool:
    """Say whether a name is a relative path that means the same in every store.

    Parts are separated by single slashes; none is empty, `.`, `..` or one of our temporaries;
    control characters, what is no UTF-8, and backslashes, which some servers take for slashes, are
    out. File systems take 255 bytes a part, S3 takes 1024 bytes for prefix and name together.
    """
    try:
        encoded = name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    if not encoded or len(encoded) > NAME_BYTES:
        return False
    if any(ord(character) < 0x20 or character in "\\\x7f" for character in name):
        return False
    return all(
        part not in ("", ".", "..")
        and len(part.encode("utf-8")) <= PART_BYTES
        and not part.startswith(TEMPORARY_PREFIX)
        for part in name.split("/")
    )


def check(name: str) -> str:
    """Return the name; raise SUSPECT when it could mean anything else than an object of the store.

    Names come out of manifests and listings too, so a bad one is a sign of tampering.
    """
    if not is_valid(name):
        shown = name.encode("unicode_escape").decode("ascii")[:80]
        raise Art32Error(
            Code.SUSPECT,
            f"`{shown}` cannot be the name of an object",
            hint="names are relative paths without `..`, backslashes or control characters",
        )
    return name
