"""Has the writer let go? A read lease answers exactly (fcntl(2), F_SETLEASE).

The kernel grants it only while nobody has the file open for writing, and takes it back before it
lets anybody open it so. Whoever holds the lease at the end of reading has read all of the file.
"""

from __future__ import annotations

import errno
import fcntl
import signal

from agent.errors import Art32Error, Code


def acquire(descriptor: int, name: str) -> bool:
    """Take the lease on a file that is open for reading; return False while somebody may write.

    Raise PERMISSION or LEASE_UNAVAILABLE where the answer cannot be had: without it nothing may be
    touched, since no time that passes proves that a writer has gone.
    """
    try:
        # the kernel announces a writer by SIGIO, which kills; SIGURG is ignored by default
        fcntl.fcntl(descriptor, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(descriptor, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError as error:
        if error.errno == errno.EAGAIN:
            return False
        if error.errno in (errno.EACCES, errno.EPERM):
            raise Art32Error(
                Code.PERMISSION,
                f"no lease on `{name}`: it belongs to another user",
                hint="run as its owner or as root, or give the unit CAP_LEASE",
            ) from error
        raise Art32Error(
            Code.LEASE_UNAVAILABLE,
            f"no lease on `{name}`: {error.strerror}",
            hint="this file system (NFS?) cannot tell whether a writer has let go: keep logs on a "
            "local disk, or receive them with `art32 logs pipe`",
        ) from error
    return True


def held(descriptor: int) -> bool:
    """Whether the lease is still whole: nobody has asked to write since it was granted."""
    return bool(fcntl.fcntl(descriptor, fcntl.F_GETLEASE) == fcntl.F_RDLCK)
