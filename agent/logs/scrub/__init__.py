"""Takes addresses and other personal data out of log lines; see docs/scrubbing.md.

scrubber = open_scrubber(Defaults())
for block in lines.blocks(reads, scrubber.report):
    write(scrubber.scrub(block))
"""

from __future__ import annotations

import functools
import ipaddress
import os
from typing import TYPE_CHECKING, Protocol

from agent.config.scrubbing import Settings
from agent.errors import Art32Error, Code
from agent.logs.scrub.found import Rules
from agent.logs.scrub.report import Report

if TYPE_CHECKING:
    from agent.logs.scrub.keys import PeriodKey

__all__ = ["Report", "Scrubber", "open_scrubber"]


class Scrubber(Protocol):
    """Scrubs blocks of lines. Not for several threads at once.

    `engine` is `kernel` or `reference`; both give the same bytes. `report` counts what was found
    since the scrubber was opened.
    """

    engine: str

    @property
    def report(self) -> Report: ...

    def scrub(self, block: bytes | memoryview) -> bytes:
        """Return a block without what must go.

        A block is whole lines; only the last line of a stream may lack its newline. Lines may have
        any length (the time is linear), and any bytes: what is not replaced comes back as it was.
        """
        ...

    def view(self, block: bytes | memoryview) -> bytes | memoryview:
        """Return the same as `scrub`, not copied where possible: good until the next call."""
        ...


def open_scrubber(
    settings: Settings, *, key: PeriodKey | None = None, engine: str | None = None
) -> Scrubber:
    """Return a scrubber with the kernel when it is there, else with the reference.

    `key` is for the mode `pseudonym`; without one a random key for today is made, which is gone
    with the scrubber. `engine` asks for one of the two; raise TOOL_MISSING when that is `kernel`
    and there is none.
    """
    from agent.logs.scrub import kernel

    if settings.mode == "pseudonym" and key is None:
        from agent.logs.scrub.keys import random_key

        key = random_key()
    rules = rules_of(settings)
    reason = "the reference is asked for" if engine == "reference" else kernel.trial()
    if reason is None:
        return kernel.KernelScrubber(settings, rules, key)
    if engine == "kernel":
        raise Art32Error(
            Code.TOOL_MISSING,
            f"there is no scrubbing kernel: {reason}",
            hint="install the wheel `art32-kernel`, or do without: it is slower",
        )
    from agent.logs.scrub.reference import ReferenceScrubber

    return ReferenceScrubber(settings, rules, key)


def rules_of(settings: Settings) -> Rules:
    """Return what of the settings the rules need, with this host's own names."""
    networks = [ipaddress.ip_network(text) for text in settings.exempt_networks]
    names = {name.lower().encode("ascii", "replace") for name in settings.own_names}
    return Rules(
        tuple(each for each in networks if isinstance(each, ipaddress.IPv4Network)),
        tuple(each for each in networks if isinstance(each, ipaddress.IPv6Network)),
        frozenset(names | _names_of_this_host()),
        frozenset(name.encode("ascii") for name in settings.parameters),
        tuple(path.encode("ascii") for path in settings.path_prefixes),
        settings.email_domain,
        frozenset(settings.leave),
        settings.cut_length,
    )


@functools.cache
def _names_of_this_host() -> frozenset[bytes]:
    """Return the host's name as the kernel has it; no resolver is asked."""
    name = os.uname().nodename.lower().encode("ascii", "replace")
    return frozenset((name,)) if name else frozenset()
