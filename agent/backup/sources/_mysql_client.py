"""The client programs of MySQL and MariaDB: which ones, and what their complaints mean."""

from __future__ import annotations

import re
import shutil

from agent import redact, run
from agent.errors import Art32Error, Code

FAILURE_LINES = re.compile(r"ERROR|error:|Got error|Couldn't|Access denied")
_PACKAGE = "mariadb-client"
QUERY_OPTIONS = ("--batch", "--skip-column-names", "--raw", "--default-character-set=utf8mb4")


def client() -> str:
    """Return the path of the client; raise TOOL_MISSING when there is none."""
    return shutil.which("mariadb") or run.find("mysql", package=_PACKAGE)


def dumper() -> str:
    """Return the path of the dump program; raise TOOL_MISSING when there is none."""
    return shutil.which("mariadb-dump") or run.find("mysqldump", package=_PACKAGE)


def complaint(stderr: bytes) -> str:
    """Return what a program said went wrong, redacted."""
    said = redact.diagnostic(stderr, keep=FAILURE_LINES) or redact.diagnostic(stderr)
    return said or "no reason was given"


_MEANINGS = (
    (r"Unknown database", Code.SOURCE_MISSING, "correct `database` in the configuration"),
    (
        r"Can't connect|Unknown (?:MySQL )?server host|Lost connection|\(2002\)|\(2003\)|\(2005\)",
        Code.SOURCE_MISSING,
        "start the server, or correct `socket`, `host` and `port`",
    ),
    (
        r"using password|\(1698\)|\(1045\)",
        Code.SOURCE_FAILED,
        "put user and password under [client] in a file of mode 0600, named as `defaults_file`",
    ),
    (
        r"Access denied|denied to user|\(1044\)|\(1142\)|\(1227\)",
        Code.SOURCE_FAILED,
        "grant SELECT, SHOW VIEW, TRIGGER, EVENT, LOCK TABLES, and SELECT on mysql.proc",
    ),
    (
        r"SSL|TLS|certificate",
        Code.SOURCE_FAILED,
        "set ssl-ca under [client] in `defaults_file`; the host must be in the certificate",
    ),
)


def explain(stderr: bytes, *, where: str) -> Art32Error:
    """Return the error for what a program said: SOURCE_MISSING for no server or database."""
    said = complaint(stderr)
    text = stderr.decode("utf-8", "replace")
    for pattern, code, hint in _MEANINGS:
        if re.search(pattern, text):
            return Art32Error(code, f"{where} cannot be dumped: {said}", hint=hint)
    return Art32Error(Code.SOURCE_FAILED, f"{where} cannot be dumped: {said}")


def identifier(name: str) -> str:
    """Return a name as a quoted SQL identifier."""
    return "`" + name.replace("`", "``") + "`"


def literal(text: str) -> str:
    """Return a text as an SQL literal, whatever the SQL mode says of backslashes."""
    return f"CONVERT(0x{text.encode().hex()} USING utf8mb4)" if text else "''"
