"""Failed logins of the last minutes, by what took them: counts alone leave this module.

They come from the journal or, where there is none, from /var/log/auth.log. What a failed login is
say the rules of the log scan, and pam_unix(8) for those at the machine itself.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from agent import run
from agent.logs.scan import formats, rules

AUTH_LOG = Path("/var/log/auth.log")
#: Rule of the scan: what took the login. Of the second rule only what names a user is a login.
_RULES = {
    "ssh-failed-login": "ssh",
    "ssh-broken-off": "ssh",
    "mail-sasl-failed": "mail",
    "mail-imap-failed": "mail",
}
_ENDED = "ssh-broken-off"
_LOCAL = re.compile(rb"pam_unix\((?:sudo|su|su-l|login|polkit-1):auth\): authentication failure;")
_LOCAL_PROGRAMS = ("sudo", "su", "login", "polkitd")
_REMOTE_PROGRAMS = (
    *("sshd", "sshd-session", "sshd-auth", "dovecot", "imap-login", "pop3-login"),
    *("postfix/smtpd", "postfix/smtps/smtpd", "postfix/submission/smtpd"),
)
_MOST_LINES = 20_000
_MOST_BYTES = 4 << 20
_PROCESS = re.compile(rb"\[(\d+)\]: $")


@dataclass(frozen=True)
class _Said:
    """What a process of a program wrote."""

    program: bytes
    process: bytes
    message: bytes


def failed(since: datetime) -> dict[str, int] | None:
    """Return how many logins have failed since then, by `ssh`, `mail` and `local`: at least, when
    they are very many. None where neither the journal nor the file can be read."""
    said = _from_journal(since)
    if said is None:
        said = _from_file(AUTH_LOG, since)
    return None if said is None else count(said)


def count(said: Iterable[_Said]) -> dict[str, int]:
    """Count failed logins. A connection that is broken off counts when none of it has failed."""
    table = {rule.id: rule for rule in rules.load()}
    found = dict.fromkeys((*_RULES.values(), "local"), 0)
    failed_ones: set[bytes] = set()
    broken_off: set[bytes] = set()
    for one in said:
        if one.program.decode("ascii", "replace") in _LOCAL_PROGRAMS:
            found["local"] += _LOCAL.match(one.message) is not None
            continue
        for name, service in _RULES.items():
            rule = table[name]
            if not rule.program.fullmatch(one.program):
                continue
            matches = [match for text in rule.message if (match := text.fullmatch(one.message))]
            if not matches:
                continue
            if name != _ENDED:
                found[service] += 1
                failed_ones.add(one.process)
            elif matches[0]["user"] is not None:
                broken_off.add(one.process)
            break
    found["ssh"] += len(broken_off - failed_ones)
    return found


def _from_journal(since: datetime) -> Iterator[_Said] | None:
    """Return what the journal has, None when it cannot be read: journalctl(1) then shows nothing
    and ends well, so it is asked for anything at all first."""
    program = shutil.which("journalctl")
    if program is None:
        return None
    read = (program, "--quiet", "--no-pager", "--system", "--output=json")
    anything = run.run([*read, "--lines=1", "--output-fields=PRIORITY"], timeout=60)
    if anything.returncode != 0 or not anything.stdout.strip():
        return None
    names = (*_REMOTE_PROGRAMS, *_LOCAL_PROGRAMS)
    done = run.run(
        [
            *read,
            f"--since=@{since.timestamp():.0f}",
            f"--lines={_MOST_LINES}",
            "--output-fields=MESSAGE,SYSLOG_IDENTIFIER,SYSLOG_PID,_PID",
            *(f"SYSLOG_IDENTIFIER={name}" for name in names),
        ],
        timeout=60,
    )
    return None if done.returncode != 0 else _records(done.stdout)


def _records(text: bytes) -> Iterator[_Said]:
    for line in text.splitlines():
        fields = json.loads(line)
        process = fields.get("SYSLOG_PID") or fields.get("_PID") or ""
        yield _Said(
            _bytes(fields.get("SYSLOG_IDENTIFIER")), _bytes(process), _bytes(fields.get("MESSAGE"))
        )


def _bytes(field: object) -> bytes:
    """Return a field of the journal's JSON: text, or the bytes of what is not, as numbers."""
    if isinstance(field, str):
        return field.encode()
    return bytes(field) if isinstance(field, list) and _numbers(field) else b""


def _numbers(field: list[object]) -> bool:
    return all(isinstance(one, int) and 0 <= one < 256 for one in field)


def _from_file(path: Path, since: datetime) -> Iterator[_Said] | None:
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _MOST_BYTES))
            lines = file.read(_MOST_BYTES).splitlines()
    except OSError:
        return None
    return _lines(lines, since.timestamp())


def _lines(lines: Iterable[bytes], since: float) -> Iterator[_Said]:
    for line in lines:
        found = formats.read_message(line)
        if found is not None and found.time is not None and found.time >= since:
            process = _PROCESS.search(line[: found.start])
            yield _Said(found.program, process[1] if process else b"", line[found.start :])
