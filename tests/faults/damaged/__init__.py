"""Repositories as they were written once, good and damaged; see README.md."""

from __future__ import annotations

import hashlib
from pathlib import Path

HERE = Path(__file__).parent
PUBLIC_KEYS = ("operations", "escrow", "host", "other_host")
RESTORER_KEY = "restorer.secret.asc"
CONTENT_BYTES = 9_000
#: Bytes that do not compress and that anybody can make again.
CONTENT = hashlib.shake_256(b"art32: known repositories").digest(CONTENT_BYTES)
