"""Backups: what is dumped, how it becomes objects in a store, and how it comes back.

The functions here are for the packages beside this one, which know nothing else of it.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from agent.backup.log_segments import Shipping
    from agent.config.model import Configuration


def shipping_of_logs(config: Configuration) -> AbstractContextManager[Shipping]:
    """Hold this host's checked keys, its store and its ledger for shipping segments of logs.

    Raise a key error before anything is read when a key is unusable.
    """
    from agent.backup.log_segments import shipping

    return shipping(config)
