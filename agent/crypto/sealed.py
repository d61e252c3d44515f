"""Messages that are signed and encrypted in one: what is signed with them says what they are.

gpg signs, then encrypts both (RFC 4880). The label is a notation in the signature's hashed part, so
that a message cannot be passed off as another, and nobody without a private key sees it.
"""

from __future__ import annotations

from collections.abc import Sequence

from agent import redact
from agent.crypto import recipients
from agent.crypto.home import Home
from agent.crypto.process import Running
from agent.crypto.recipients import CheckedRecipient
from agent.errors import Art32Error, Code
from agent.memory import Buffer

NOTATION = "place@art32.invalid"
OVERHEAD = 64 << 10


def seal(
    home: Home,
    fingerprint: str,
    readers: Sequence[CheckedRecipient],
    label: str,
    source: Buffer,
    target: Buffer,
    *,
    imported: bool = False,
) -> None:
    """Sign and encrypt one buffer to another, which has room for `OVERHEAD` bytes more.

    `label` holds letters, digits and `/ . _ = -` only; `imported`: the readers' keys are in the
    home. Raise KEY_UNUSABLE when gpg refuses, and
    ENCRYPTION_INEFFECTIVE unless the message is for exactly the readers.
    """
    running = Running(
        lambda status_fd: home.command(
            *("--status-fd", str(status_fd), "--pinentry-mode", "error"),
            *recipients.options(readers, imported=imported),
            *("--digest-algo", "SHA512", "--set-notation", f"{NOTATION}={label}"),
            *("--local-user", fingerprint, "--output", "-", "--sign", "--encrypt"),
        ),
        source,
        target,
    )
    status, keywords = running.result()
    if status != 0 or not {"SIG_CREATED", "END_ENCRYPTION"} <= set(keywords):
        said = redact.diagnostic(running.stderr)
        raise Art32Error(
            Code.KEY_UNUSABLE,
            f"gpg does not sign and encrypt: {said}" if said else "gpg does not sign and encrypt",
            hint="art32 doctor",
        )
    recipients.inspect(target.view, [one.key for one in readers])
