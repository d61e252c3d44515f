"""The day's key of this host: what makes one masked thing equal to itself, for a day.

32 random bytes in a file of the state directory that only art32 may read. The first process of a
UTC day replaces them, and nothing keeps the old ones: identifiers of days that are past cannot be
made again, nor tried out. They tell nothing across hosts.
"""

from __future__ import annotations

import hmac
import json
import secrets
from pathlib import Path

from agent import clock, files

NAME = "key.json"
_SIZE = 32


def of_today(directory: Path, *, mode: int = 0o600) -> bytes:
    """Return today's key. Where none can be kept, one for this process alone."""
    today = clock.now().strftime("%Y-%m-%d")
    path = directory / NAME
    for _ in range(2):
        try:
            kept = json.loads(path.read_bytes())
            key = bytes.fromhex(kept["key"])
            if kept["day"] == today and len(key) == _SIZE:
                return key
        except (OSError, ValueError, KeyError, TypeError):
            pass
        fresh = secrets.token_bytes(_SIZE)
        try:
            files.replace(path, json.dumps({"day": today, "key": fresh.hex()}).encode(), mode=mode)
        except OSError:
            return fresh
    return fresh


def identifier(key: bytes, kind: str, value: str) -> str:
    """Return six hexadecimal digits for a value: enough to see two that are equal, too few to be
    sure of anything else."""
    text = f"{kind}\0{value}".encode("utf-8", "surrogatepass")
    return hmac.new(key, text, "sha256").hexdigest()[:6]
