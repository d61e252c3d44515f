"""Whether the clock is synchronised: certificates, signatures and retention go by it."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator

from agent.health.checks import Situation
from agent.health.result import Result, State

_UNSYNCHRONISED = 5
_TIMEX_BYTES = 512


def look(situation: Situation) -> Iterator[Result]:
    if not situation.config.health.clock_required:
        return
    # struct timex with modes = 0 asks and changes nothing (ntp_adjtime(3)); TIME_ERROR is 5
    buffer = ctypes.create_string_buffer(_TIMEX_BYTES)
    state = ctypes.CDLL(None, use_errno=True).ntp_adjtime(buffer)
    if state < 0:
        yield Result("clock", State.UNKNOWN, "the kernel does not say")
    elif state == _UNSYNCHRONISED:
        yield Result(
            "clock",
            State.FAIL,
            "is not synchronised",
            hint="timedatectl set-ntp true; timedatectl timesync-status",
            runbook="backup-stale",
        )
    else:
        yield Result("clock", State.OK, "is synchronised")
