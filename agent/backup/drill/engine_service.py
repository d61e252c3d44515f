"""The service that starts a drill's engines, on the socket that systemd passes."""

from __future__ import annotations

import os
import socket

from agent import notify, sandbox
from agent.config.model import Configuration
from agent.errors import Art32Error, Code
from agent.sandbox.service import Service

_IDLE_SECONDS = 60.0


def serve(config: Configuration) -> None:
    """Serve this user's own processes until nothing has run for a minute.

    Raise USAGE without a socket from systemd, SANDBOX_UNAVAILABLE where nothing can be confined.
    """
    descriptors = notify.passed_descriptors()
    if len(descriptors) != 1:
        raise Art32Error(
            Code.USAGE,
            "no socket was passed: systemd starts this",
            hint="systemctl start art32-drill-engine.socket",
        )
    sandbox.check(config.restore.engine_user)
    with socket.socket(fileno=descriptors[0]) as listener:
        service = Service(
            listener,
            user=config.restore.engine_user,
            directory=config.drill.directory,
            client=os.geteuid(),
        )
        service.run(notify.manager(), idle_seconds=_IDLE_SECONDS)
