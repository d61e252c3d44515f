"""The section `[logs]`: each part in a file of its own."""

from __future__ import annotations

from agent.config.section import Section


class Logs(Section):
    """What happens to the logs of this host."""
