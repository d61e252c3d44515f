"""The error tree: every failure that a user can meet, with its exit status.

A message is one lower-case sentence without a full stop, with the thing it is about in backticks.
It never holds a secret or a personal datum: not a key, a password, a row, or what a child process
printed without passing through `agent.redact`.
"""

from __future__ import annotations

import errno
import os
from enum import Enum, IntEnum


class ExitStatus(IntEnum):
    """What `art32` exits with. An unknown status is a failure.

    The numbers follow restic where it has them (10, 11, 12) and sysexits(3) where systemd
    knows the name (75, 77, 78).
    """

    OK = 0
    DEFECT = 1
    USAGE = 2
    NO_BACKUP = 10
    LOCKED = 11
    KEY = 12
    STORE = 13
    VERIFICATION = 14
    SOURCE = 15
    WARNINGS = 20
    TRY_AGAIN = 75
    PERMISSION = 77
    CONFIGURATION = 78
    INTERRUPTED = 130


EXIT_MEANINGS: dict[ExitStatus, str] = {
    ExitStatus.OK: "done",
    ExitStatus.DEFECT: "a defect in art32 itself; please report it",
    ExitStatus.USAGE: "wrong command line",
    ExitStatus.NO_BACKUP: "there is no such backup",
    ExitStatus.LOCKED: "another run holds the lock",
    ExitStatus.KEY: "an encryption or signing key is missing, expired, revoked or wrong",
    ExitStatus.STORE: "the store is unreachable, refuses, or answers wrongly",
    ExitStatus.VERIFICATION: "a backup is not what its signature says, or a good one is missing",
    ExitStatus.SOURCE: "what should be backed up could not be read, or the target refused it",
    ExitStatus.WARNINGS: "done, and something needs a person's eye",
    ExitStatus.TRY_AGAIN: "nothing is wrong here; try again later",
    ExitStatus.PERMISSION: "the operating system or the store refused a right",
    ExitStatus.CONFIGURATION: "the configuration is wrong",
    ExitStatus.INTERRUPTED: "interrupted by a signal",
}


class Code(Enum):
    """Every condition that art32 reports: its name, its exit status and its meaning."""

    def __init__(self, label: str, exit_status: ExitStatus, meaning: str) -> None:
        self.label = label
        self.exit_status = exit_status
        self.meaning = meaning

    DEFECT = ("defect", ExitStatus.DEFECT, "an error that art32 did not foresee")
    USAGE = ("usage", ExitStatus.USAGE, "a command line that makes no sense")
    CONFIG_INVALID = ("config-invalid", ExitStatus.CONFIGURATION, "the file has mistakes")
    CONFIG_MISSING = ("config-missing", ExitStatus.CONFIGURATION, "the file cannot be read")
    TOOL_MISSING = ("tool-missing", ExitStatus.CONFIGURATION, "a program is not installed")
    TOOL_FAILED = ("tool-failed", ExitStatus.DEFECT, "a helper program failed unexpectedly")
    NO_BACKUP = ("no-backup", ExitStatus.NO_BACKUP, "no backup fits the request")
    LOCKED = ("locked", ExitStatus.LOCKED, "another run of the same source is in progress")
    KEY_MISSING = ("key-missing", ExitStatus.KEY, "a configured key is not there")
    KEY_MISMATCH = ("key-mismatch", ExitStatus.KEY, "a key file holds another key")
    KEY_EXPIRED = ("key-expired", ExitStatus.KEY, "a configured key has expired")
    KEY_REVOKED = ("key-revoked", ExitStatus.KEY, "a configured key has been revoked")
    KEY_UNUSABLE = ("key-unusable", ExitStatus.KEY, "a key cannot do what it is for")
    KEY_UNDECRYPTABLE = ("key-undecryptable", ExitStatus.KEY, "no private key opens the backup")
    ENCRYPTION_INEFFECTIVE = (
        "encryption-ineffective",
        ExitStatus.KEY,
        "what would be uploaded is not encrypted to exactly the configured keys",
    )
    STORE_UNREACHABLE = ("store-unreachable", ExitStatus.STORE, "the store does not answer")
    STORE_REFUSED = ("store-refused", ExitStatus.PERMISSION, "the store refuses the right")
    STORE_FAILED = ("store-failed", ExitStatus.STORE, "the store answered with a failure")
    STORE_FULL = ("store-full", ExitStatus.STORE, "the store has no room left")
    STORE_MISSING = ("store-missing", ExitStatus.STORE, "the bucket or directory is not there")
    OBJECT_EXISTS = ("object-exists", ExitStatus.STORE, "an object of that name exists already")
    OBJECT_MISSING = ("object-missing", ExitStatus.STORE, "an object is not in the store")
    CLOCK_SKEW = ("clock-skew", ExitStatus.STORE, "this clock and the store's differ")
    NOT_WRITE_ONLY = ("not-write-only", ExitStatus.STORE, "the writer can do more than write")
    SUSPECT = ("suspect", ExitStatus.VERIFICATION, "signature, path or contents do not fit")
    PENDING = ("pending", ExitStatus.VERIFICATION, "signed by a key that no person has accepted")
    SUSPICIOUS = (
        "suspicious",
        ExitStatus.WARNINGS,
        "a backup differs so much from the last one that a person has to accept it",
    )
    STALE = ("stale", ExitStatus.VERIFICATION, "the newest good backup is too old")
    ENROLMENT_INVALID = (
        "enrolment-invalid",
        ExitStatus.VERIFICATION,
        "an enrolment is not what its key has signed",
    )
    ENROLMENT_DOUBTFUL = (
        "enrolment-doubtful",
        ExitStatus.VERIFICATION,
        "an enrolment could be that of another machine than it says",
    )
    HOST_UNKNOWN = ("host-unknown", ExitStatus.KEY, "no key or host of that name is enrolled")
    PINS_CONFLICT = (
        "pins-conflict",
        ExitStatus.TRY_AGAIN,
        "somebody else changed the list of pinned hosts at the same time",
    )
    PINS_INVALID = (
        "pins-invalid",
        ExitStatus.VERIFICATION,
        "no list of pinned hosts in the store counts, or one is left out",
    )
    CORRUPT = ("corrupt", ExitStatus.VERIFICATION, "bytes differ from what was signed")
    SPLIT_BRAIN = (
        "split-brain",
        ExitStatus.VERIFICATION,
        "two servers wrote different files of a write-ahead log under one name",
    )
    WAL_GAP = (
        "wal-gap",
        ExitStatus.VERIFICATION,
        "the archive of a write-ahead log has a hole, or is not the right one",
    )
    WAL_LATER = ("wal-later", ExitStatus.TRY_AGAIN, "a segment could not be shipped just now")
    DRILL_FAILED = ("drill-failed", ExitStatus.VERIFICATION, "a rehearsed restore did not do well")
    LEDGER_BROKEN = ("ledger-broken", ExitStatus.VERIFICATION, "the ledger's chain is broken")
    PRUNE_REFUSED = ("prune-refused", ExitStatus.TRY_AGAIN, "deleting now would not be safe")
    SOURCE_MISSING = ("source-missing", ExitStatus.SOURCE, "what to back up is not there")
    SOURCE_FAILED = ("source-failed", ExitStatus.SOURCE, "the dump failed")
    SOURCE_INCOMPLETE = ("source-incomplete", ExitStatus.SOURCE, "the dump has no proper end")
    SOURCE_EMPTY = ("source-empty", ExitStatus.SOURCE, "the dump holds nothing at all")
    LOG_UNSAFE = (
        "log-unsafe",
        ExitStatus.PERMISSION,
        "a log, or the way to it, is in the hands of somebody who is not trusted",
    )
    LEASE_UNAVAILABLE = (
        "lease-unavailable",
        ExitStatus.SOURCE,
        "nobody can tell whether the writer of a log has let go",
    )
    REOPEN_FAILED = ("reopen-failed", ExitStatus.SOURCE, "a writer was not told to reopen its log")
    SCRUB_FAILED = (
        "scrub-failed",
        ExitStatus.VERIFICATION,
        "the second scanner found more addresses in a scrubbed segment than chance explains",
    )
    TARGET_EXISTS = ("target-exists", ExitStatus.SOURCE, "restore would overwrite something")
    TARGET_FAILED = ("target-failed", ExitStatus.SOURCE, "the target refused the data")
    TARGET_UNSAFE = ("target-unsafe", ExitStatus.PERMISSION, "the target would let a dump act")
    POINT_UNREACHABLE = (
        "point-unreachable",
        ExitStatus.NO_BACKUP,
        "the write-ahead log does not reach the moment that was asked for",
    )
    RECOVERY_FAILED = (
        "recovery-failed",
        ExitStatus.VERIFICATION,
        "a base backup does not take its write-ahead log",
    )
    SANDBOX_UNAVAILABLE = (
        "sandbox-unavailable",
        ExitStatus.PERMISSION,
        "restored data cannot be confined on this machine",
    )
    AWS_REFUSED = ("aws-refused", ExitStatus.PERMISSION, "AWS refuses this session")
    AWS_UNREACHABLE = ("aws-unreachable", ExitStatus.TRY_AGAIN, "AWS gives no usable answer")
    SNAPSHOT_MISSING = ("snapshot-missing", ExitStatus.NO_BACKUP, "there is no such snapshot")
    SNAPSHOT_UNFIT = (
        "snapshot-unfit",
        ExitStatus.VERIFICATION,
        "no generation of the stack can be made from this snapshot as it is",
    )
    OUTPUT_FAILED = ("output-failed", ExitStatus.SOURCE, "standard output takes no more")
    REPORT_REFUSED = ("report-refused", ExitStatus.PERMISSION, "Rollbar refuses the access token")
    REPORT_UNSENT = ("report-unsent", ExitStatus.TRY_AGAIN, "a report waits, Rollbar took none")
    RUNBOOK_MISSING = ("runbook-missing", ExitStatus.USAGE, "there is no such runbook")
    RUNBOOK_INVALID = ("runbook-invalid", ExitStatus.DEFECT, "a runbook's file has mistakes")
    RUNBOOK_STOPPED = (
        "runbook-stopped",
        ExitStatus.VERIFICATION,
        "a step of a runbook failed, or printed something else than it says",
    )
    LOG_IN_USE = ("log-in-use", ExitStatus.TRY_AGAIN, "a log file is still open for writing")
    DISK = ("disk", ExitStatus.STORE, "the local disk is full or read-only")
    PERMISSION = ("permission", ExitStatus.PERMISSION, "the operating system refuses")
    INTERRUPTED = ("interrupted", ExitStatus.INTERRUPTED, "stopped by a signal")


RUNBOOKS: dict[Code, str] = {
    Code.LOG_IN_USE: "log-rotation-failed",
    Code.REOPEN_FAILED: "log-rotation-failed",
    Code.LEASE_UNAVAILABLE: "log-rotation-failed",
    Code.LOG_UNSAFE: "log-rotation-failed",
    Code.SCRUB_FAILED: "log-rotation-failed",
    Code.CONFIG_INVALID: "backup-failed",
    Code.CONFIG_MISSING: "backup-failed",
    Code.TOOL_MISSING: "backup-failed",
    Code.TOOL_FAILED: "backup-failed",
    Code.NO_BACKUP: "backup-stale",
    Code.LOCKED: "backup-failed",
    Code.KEY_MISSING: "key-rotate",
    Code.KEY_MISMATCH: "key-rotate",
    Code.KEY_EXPIRED: "key-rotate",
    Code.KEY_REVOKED: "key-rotate",
    Code.KEY_UNUSABLE: "key-rotate",
    Code.KEY_UNDECRYPTABLE: "key-lost",
    Code.ENCRYPTION_INEFFECTIVE: "key-rotate",
    Code.STORE_UNREACHABLE: "store-refused",
    Code.STORE_REFUSED: "store-refused",
    Code.STORE_FAILED: "store-refused",
    Code.STORE_FULL: "store-refused",
    Code.STORE_MISSING: "store-refused",
    Code.OBJECT_EXISTS: "store-refused",
    Code.OBJECT_MISSING: "store-refused",
    Code.CLOCK_SKEW: "backup-stale",
    Code.NOT_WRITE_ONLY: "store-refused",
    Code.SUSPECT: "backup-suspect",
    Code.PENDING: "backup-suspect",
    Code.SUSPICIOUS: "backup-suspect",
    Code.STALE: "backup-stale",
    Code.ENROLMENT_INVALID: "host-enrol",
    Code.ENROLMENT_DOUBTFUL: "host-enrol",
    Code.HOST_UNKNOWN: "host-enrol",
    Code.PINS_CONFLICT: "host-enrol",
    Code.PINS_INVALID: "host-enrol",
    Code.CORRUPT: "backup-suspect",
    Code.SPLIT_BRAIN: "wal-archiving-failed",
    Code.WAL_GAP: "wal-archiving-failed",
    Code.WAL_LATER: "wal-archiving-failed",
    Code.DRILL_FAILED: "drill-failed",
    Code.LEDGER_BROKEN: "backup-failed",
    Code.PRUNE_REFUSED: "backup-stale",
    Code.SOURCE_MISSING: "backup-failed",
    Code.SOURCE_FAILED: "backup-failed",
    Code.SOURCE_INCOMPLETE: "backup-failed",
    Code.SOURCE_EMPTY: "backup-failed",
    Code.TARGET_EXISTS: "restore-database",
    Code.TARGET_FAILED: "restore-database",
    Code.TARGET_UNSAFE: "restore-database",
    Code.SANDBOX_UNAVAILABLE: "restore-database",
    Code.AWS_REFUSED: "snapshot-restore",
    Code.AWS_UNREACHABLE: "snapshot-restore",
    Code.SNAPSHOT_MISSING: "snapshot-restore",
    Code.SNAPSHOT_UNFIT: "snapshot-restore",
    Code.POINT_UNREACHABLE: "restore-to-a-point-in-time",
    Code.RECOVERY_FAILED: "restore-to-a-point-in-time",
    Code.REPORT_REFUSED: "rollbar-silent",
    Code.REPORT_UNSENT: "rollbar-silent",
    Code.DISK: "disk-full",
}
"""The page under `runbooks/` for each condition that a page can mend."""


class Art32Error(Exception):
    """A failure to show to a user.

    Given a code, one sentence, and optionally the next thing to do, the CLI prints all of it, with
    the page under `runbooks/` that is the code's or was named, and exits with the code's status.
    """

    def __init__(
        self, code: Code, sentence: str, *, hint: str | None = None, runbook: str | None = None
    ) -> None:
        super().__init__(sentence)
        self.code = code
        self.sentence = sentence
        self.hint = hint
        self.runbook = runbook or RUNBOOKS.get(code)

    @property
    def exit_status(self) -> ExitStatus:
        return self.code.exit_status


_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)


def from_defect(error: Exception) -> Art32Error:
    """Return what to show of an unforeseen error: its type and place alone.

    Its text may hold anything. A disk without room may show anywhere, and is no defect.
    """
    frames = []
    trace = error.__traceback__
    while trace is not None:
        name = str(trace.tb_frame.f_globals.get("__name__", "?"))
        if name.startswith("agent"):
            frames.append(f"{name}:{trace.tb_lineno}")
        trace = trace.tb_next
    place = frames[-1] if frames else "?"
    if isinstance(error, OSError) and error.errno in _NO_ROOM:
        return Art32Error(
            Code.DISK,
            f"{os.strerror(error.errno).lower()}, at `{place}`",
            hint="df -h; then run the same again: nothing that was stored before is affected",
        )
    number = f" (errno {error.errno})" if isinstance(error, OSError) and error.errno else ""
    return Art32Error(
        Code.DEFECT,
        f"a defect in art32: `{type(error).__name__}`{number} at `{place}`",
        hint="please report this line; nothing that was stored before is affected",
    )


class Interrupted(BaseException):
    """A signal asked to stop.

    No `Art32Error`: an `except` that takes an error for a failure of what was being done must not
    swallow or rename it. Only the root of the command line turns it into `error`.
    """

    def __init__(self, signal_name: str) -> None:
        super().__init__(signal_name)
        self.error = Art32Error(
            Code.INTERRUPTED,
            f"stopped by {signal_name} before the end",
            hint="run it again; what was not signed counts as absent: art32 backup list",
        )
