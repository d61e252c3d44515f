"""The rules in the order of their precedence: what one has found is a wall to those after it.

Each looks at a stretch of text between walls, from left to right, in linear time. A text's end is
a wall like any other: rules see nothing beyond it.
"""

from __future__ import annotations

from agent.logs.scrub.found import Finder
from agent.logs.scrub.rules import (
    authority,
    credential,
    email,
    ipv4,
    ipv6,
    mac,
    name,
    own,
    parameter,
    path,
    user,
)

ORDER: tuple[Finder, ...] = (
    credential.find,
    parameter.find,
    path.find,
    user.find,
    authority.find,
    own.find,
    email.find,
    name.find_pointers,
    name.find_dashed,
    name.find_dotted,
    name.find_hex_labels,
    mac.find,
    ipv6.find,
    ipv4.find,
)
