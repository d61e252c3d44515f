"""Certificates that will end: in files, and as servers present them."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime

from agent import run
from agent.config.health import Certificate
from agent.health.checks import Situation
from agent.health.result import Result, State, graded

_SECONDS = 10.0


def look(situation: Situation) -> Iterator[Result]:
    warn = situation.config.health.certificate_warn_days
    for one in situation.config.health.certificates:
        name = f"certificate:{one.file or one.server}"
        try:
            end = _end(one)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            yield Result(name, State.UNKNOWN, f"cannot be read: {reason}")
            continue
        days = (end - situation.now).total_seconds() / 86400
        yield Result(
            name,
            graded(-days, warn=-warn, fail=-warn / 3),
            f"ends in {days:.0f} days" if days > 0 else f"ended {-days:.0f} days ago",
            round(days, 1),
            "d",
            warn / 3,
            "certbot renew, or look at what should have renewed it",
        )


def _end(one: Certificate) -> datetime:
    if one.file is not None:
        return not_after(one.file.read_bytes())
    assert one.server is not None
    host, _, port = one.server.rpartition(":")
    # it is looked at, not trusted: an expired one must still be readable
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with (
        socket.create_connection((host, int(port)), timeout=_SECONDS) as plain,
        context.wrap_socket(plain, server_hostname=host) as secured,
    ):
        presented = secured.getpeercert(binary_form=True)
    if not presented:
        raise ValueError("no certificate")
    return not_after(ssl.DER_cert_to_PEM_cert(presented).encode())


def not_after(pem: bytes) -> datetime:
    """Return when the first certificate of a PEM text ends; raise ValueError."""
    program = run.find("openssl", package="openssl")
    done = run.run([program, "x509", "-noout", "-enddate"], stdin=pem, timeout=30)
    _, _, text = done.stdout.decode("ascii", "replace").strip().partition("notAfter=")
    if done.returncode != 0 or not text:
        raise ValueError("is no certificate")
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(text), UTC)
