"""The section `[logs]`: each part in a file of its own."""

from __future__ import annotations

from pydantic import Field

from agent.config.logs_scan import Scan, Watch
from agent.config.logs_scrub import Scrub
from agent.config.section import Section


class Logs(Section):
    """What happens to the logs of this host."""

    scan: Scan = Field(default_factory=lambda: Scan(), description="Attack detection.")
    watch: Watch = Field(default_factory=lambda: Watch(), description="Files to follow.")
    scrub: Scrub = Field(default_factory=lambda: Scrub(), description="What is taken out.")
