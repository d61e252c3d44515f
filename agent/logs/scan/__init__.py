"""Attacks found in raw log lines, in memory, before anything is scrubbed.

scanner = open_scanner(Scan())
scanner.feed(block, source="/var/log/nginx/access.log", segment="access.log.7.raw", offset=0)
scanner.findings()
"""

from __future__ import annotations

from collections.abc import Callable

from agent.config.logs_scan import Scan
from agent.logs.scan.findings import Finding
from agent.logs.scan.rules import load
from agent.logs.scan.scanner import Scanner, Seen

__all__ = ["Finding", "Scanner", "Seen", "open_scanner"]


def open_scanner(
    settings: Scan | None = None, *, scrub: Callable[[bytes], bytes] | None = None
) -> Scanner:
    """Return a scanner with all rules that the settings leave on; without settings, the defaults.

    `scrub` takes whole lines and returns them without personal data; with it a few sample lines
    are kept for the digest, without it none. Raise CONFIG_INVALID for a rule with a mistake,
    TOOL_MISSING when hyperscan is asked for by name and not installed.
    """
    chosen = settings or Scan()
    return Scanner(chosen, load(chosen.rules_directory, chosen.disabled_rules), scrub=scrub)
