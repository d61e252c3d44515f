"""Holds the kernel to the reference, and both to what scrubbing promises."""

from __future__ import annotations

import functools
import random
from collections.abc import Callable
from dataclasses import dataclass

from agent.config.logs_scrub import Scrub
from agent.logs.scrub import Scrubber, open_scrubber, rules_of
from agent.logs.scrub.kernel import Instructions, KernelScrubber
from agent.logs.scrub.keys import PeriodKey
from tests.fuzz import generate

LEVELS: tuple[Instructions, ...] = ("all", "plain", "narrow")
KEY = PeriodKey(b"k" * 32, "2026-11-24")
SETTINGS = (
    Scrub(),
    Scrub(mode="pseudonym"),
    Scrub(mode="remove", email_domain=True),
    Scrub(
        preset="strict",
        exempt_networks=("203.0.113.0/28", "2001:db8::/47"),
        own_names=("ec2-203-0-113-77.compute.amazonaws.com",),
    ),
    Scrub(cut_length=40),
    Scrub(mode="pseudonym", leave=("email", "mac", "name", "user"), email_domain=True),
    Scrub(leave=("parameter", "path", "credential"), ipv4_prefix=0, ipv6_prefix=64),
    Scrub(ipv4_prefix=8, ipv6_prefix=16),
    Scrub(ipv4_prefix=20, ipv6_prefix=44),
)


@dataclass(frozen=True)
class Difference:
    """The shortest block found on which something promised does not hold."""

    settings: Scrub
    block: bytes
    what: str


def kernel(settings: Scrub, instructions: Instructions = "all") -> Scrubber:
    """Return a kernel with all instructions of the processor, or with fewer."""
    return KernelScrubber(settings, rules_of(settings), KEY, instructions=instructions)


def reference(settings: Scrub) -> Scrubber:
    """Return the specification as code."""
    return open_scrubber(settings, key=KEY, engine="reference")


def check(settings: Scrub, block: bytes) -> str | None:
    """Say what does not hold for a block: equal bytes, equal counts, twice is once."""
    slow = reference(settings)
    wanted = slow.scrub(block)
    for instructions in LEVELS:
        fast = kernel(settings, instructions)
        if fast.scrub(block) != wanted:
            return f"the kernel gives other bytes, instructions={instructions}"
        if fast.report != slow.report:
            return f"the kernel counts otherwise, instructions={instructions}"
    if settings.cut_length is None and slow.scrub(wanted) != wanted:
        return "scrubbed twice is not scrubbed once"
    return None


def search_twice(seed: int, lines: int) -> Difference | None:
    """Look among so many generated lines for one that scrubbing twice changes twice.

    With the kernel alone, all at once: some are one in a million.
    """
    source = random.Random(seed)
    block = b"".join(generate.line(source) + b"\n" for _ in range(lines))
    for settings in SETTINGS:
        if settings.cut_length is not None:
            continue
        once = kernel(settings).scrub(block)
        if kernel(settings).scrub(once) != once:
            for line in block.split(b"\n"):
                what = check(settings, line)
                if what is not None:
                    fails = functools.partial(check, settings)
                    return Difference(settings, shortest(line, fails), what)
    return None


def search(seed: int, blocks: int) -> Difference | None:
    """Check so many generated blocks under settings that take turns."""
    source = random.Random(seed)
    for index in range(blocks):
        settings = SETTINGS[index % len(SETTINGS)]
        block = generate.block(source, source.randrange(1, 5))
        what = check(settings, block)
        if what is not None:
            fails = functools.partial(check, settings)
            return Difference(settings, shortest(block, fails), what)
    return None


def shortest(block: bytes, fails: Callable[[bytes], object]) -> bytes:
    """Leave out of a block, byte by byte, what it fails without."""
    index = 0
    while index < len(block):
        less = block[:index] + block[index + 1 :]
        if fails(less):
            block, index = less, max(0, index - 3)
        else:
            index += 1
    return block
