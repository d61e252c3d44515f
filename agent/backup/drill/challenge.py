"""Recovery keys: their holders show that they can still decrypt, with no customer data involved."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from pathlib import Path

from agent import clock, files
from agent.backup import identity, make
from agent.backup.drill import record
from agent.config.model import Configuration
from agent.crypto import recipients
from agent.errors import Art32Error, Code
from agent.ledger import Ledger

_TEXT = """\
This is a challenge of art32: whoever reads it holds the recovery key `{name}`.
It was made at {made} and holds no customer data.

Answer it on the machine that made it:

    art32 drill answer {number}

and type this line when asked:

{answer}
"""


def make_challenge(config: Configuration, name: str, path: Path) -> str:
    """Write a message to a new file that only the recipient of that name can read; return its
    number.

    Raise KEY_MISSING when there is no such recipient, TARGET_EXISTS when the file is there. What
    is remembered is the hash of the answer, in the ledger.
    """
    known = config.encryption.recipients if config.encryption else ()
    names = [one.name for one in known]
    if name not in names:
        raise Art32Error(
            Code.KEY_MISSING,
            f"no recipient is named `{name}`",
            hint=f"there are: {', '.join(names)}" if names else "`encryption` is not configured",
        )
    number = secrets.token_hex(4)
    answer = base64.b32encode(secrets.token_bytes(20)).decode()
    text = _TEXT.format(
        name=name, made=clock.iso(clock.now()), number=number, answer=answer
    ).encode()
    with identity.writer(config) as writer:
        chosen = [one for one in writer.recipients if one.config.name == name]
        sealed = recipients.encrypt(writer.home, text, chosen)
    ledger = make.ledger_of(config)
    try:
        files.create(path, sealed, mode=0o644)
    except FileExistsError as error:
        raise Art32Error(
            Code.TARGET_EXISTS, f"`{path}` is there already", hint="name a new file"
        ) from error
    except OSError as error:
        raise Art32Error(
            Code.TARGET_FAILED, f"`{path}` cannot be written: {error.strerror}"
        ) from error
    ledger.append(
        record.CHALLENGED,
        challenge=number,
        recipient=name,
        fingerprint=chosen[0].key.fingerprint,
        answer=_digest(answer),
    )
    return number


def _digest(answer: str) -> str:
    return hashlib.sha256(answer.encode()).hexdigest()


def take_answer(ledger: Ledger, number: str, answer: str) -> str:
    """Compare an answer with its challenge and record the outcome; return the recipient's name.

    Raise NO_BACKUP when no such challenge was made here, DRILL_FAILED when the answer is wrong.
    """
    made = [
        one.facts
        for one in ledger.records()
        if one.event == record.CHALLENGED and one.facts["challenge"] == number
    ]
    if not made:
        raise Art32Error(
            Code.NO_BACKUP,
            f"no challenge `{number[:16]}` was made on this machine",
            hint="its number stands in the message; answer it where it was made",
        )
    facts = made[-1]
    right = hmac.compare_digest(_digest(answer.strip().upper()), str(facts["answer"]))
    ledger.append(
        record.ANSWERED,
        challenge=number,
        recipient=facts["recipient"],
        fingerprint=facts["fingerprint"],
        result="ok" if right else Code.DRILL_FAILED.label,
    )
    if not right:
        raise Art32Error(
            Code.DRILL_FAILED,
            f"that is not what the challenge `{number}` says",
            hint="gpg --decrypt FILE prints it; a key that cannot decrypt it is lost",
        )
    return str(facts["recipient"])
