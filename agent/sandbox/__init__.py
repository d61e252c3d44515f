"""Confines programs that handle restored data, which is hostile until shown otherwise.

A dump runs code: a CHECK function reaches `COPY ... TO PROGRAM`, `\\!` works in plain SQL, an
archive holds `../`, links and device nodes. Such programs run here with another uid, without a
network, and with a root of their own in which there is the system under /usr, read-only, one
directory to write to, and nothing else: no home directory, no key, no agent's socket.

It is built from `unshare`, `mount`, `chroot` and `setpriv` of util-linux and coreutils, which
every Debian has. Bubblewrap is not used: it may be missing, and it needs pivot_root(2), which
fails inside a chroot. A chroot is no wall for a process that may call chroot(2) itself; here all
capabilities to do so are gone before the program starts, and a process in a chroot cannot make a
user namespace to get them back (user_namespaces(7)).

Run by an ordinary user, the same is built inside a user namespace. The program then looks like
root to itself, has no capabilities, and its uid is, for the kernel outside, still the user's own:
what keeps it from the user's files is that it does not see them.
"""

from __future__ import annotations

import functools
import json
import os
import pwd
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from agent import redact, run
from agent.errors import Art32Error, Code

#: Where `art32 drill engine` listens, which makes the rooms of a drill that may make none.
ENGINES = Path("/run/art32/engine.sock")
_CAP_SYS_ADMIN = 1 << 21  # capability.h

SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

# The new root is mounted over a directory that is on every Linux and that nothing here needs. It
# lies in /proc because that is a mount also where / is none (in a chroot), so that it can be made
# private first: otherwise what is mounted here could appear outside.
_ROOT = "/proc/tty"
_HINT = (
    "run as root (in a chroot there is no other way), or let ordinary users make user namespaces "
    "(`sysctl user.max_user_namespaces`, `kernel.unprivileged_userns_clone`, AppArmor)"
)

# Everything variable is a positional argument, never text of the script. /proc is read-only
# because uid 0 may write to much of /proc/sys without any capability; the device nodes are
# because a program with `fowner` could change their modes outside.
_SCRIPT = r"""
set -eu
umask 022
PATH=$PATH:/usr/sbin:/sbin  # chroot(8) is there, where an ordinary user does not look
root=$1 uid=$2 gid=$3 start=$4 held=$5
shift 5

bind() {
    if [ -d "$1" ]; then
        mkdir -p "$root$1"
    else
        mkdir -p "$(dirname "$root$1")"
        [ -e "$root$1" ] || : >"$root$1"
    fi
    mount --bind --make-private "$1" "$root$1"
    mount -o "remount,bind,nosuid,$2" "$root$1"
}

mount --make-rprivate /proc
mount -t tmpfs -o mode=0755,size=1m,nosuid tmpfs "$root"
mkdir "$root/etc" "$root/dev" "$root/proc"
bind /usr ro,nodev
for name in bin sbin lib lib32 lib64 libx32; do
    if [ -L "/$name" ]; then
        ln -s "$(readlink "/$name")" "$root/$name"
    elif [ -d "/$name" ]; then
        bind "/$name" ro,nodev
    fi
done
for name in /etc/alternatives /etc/ld.so.cache; do
    [ ! -e "$name" ] || bind "$name" ro,nodev
done
for name in null zero urandom; do
    bind "/dev/$name" ro
done
mount -t proc -o ro,nosuid,nodev,noexec proc "$root/proc"
printf 'root:x:0:0::/:/usr/sbin/nologin\n' >"$root/etc/passwd"
printf 'root:x:0:\n' >"$root/etc/group"
if [ "$uid" != 0 ]; then
    printf 'confined:x:%s:%s::/:/usr/sbin/nologin\n' "$uid" "$gid" >>"$root/etc/passwd"
    printf 'confined:x:%s:\n' "$gid" >>"$root/etc/group"
fi
printf 'passwd: files\ngroup: files\nhosts: files\n' >"$root/etc/nsswitch.conf"
while [ "$1" != -- ]; do
    bind "$2" "$1"
    shift 2
done
shift
mount -o remount,bind,ro,nosuid,nodev "$root"

if [ "$uid" != "$(id -u)" ]; then
    set -- --reuid "$uid" --regid "$gid" --clear-groups -- "$@"
else
    set -- -- "$@"
fi
exec setsid chroot "$root" /usr/bin/env -i "--chdir=$start" \
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" LC_ALL=C.UTF-8 \
    /usr/bin/setpriv --no-new-privs --pdeathsig KILL "--inh-caps=$held" "--ambient-caps=$held" \
    "--bounding-set=$held" "$@"
"""


@dataclass(frozen=True)
class _Identity:
    uid: int
    gid: int


def confined(
    argv: Iterable[str],
    *,
    user: str,
    writable: Path | None = None,
    sockets: tuple[Path, ...] = (),
    readable: tuple[Path, ...] = (),
    capabilities: tuple[str, ...] = (),
    refuses_root: bool = False,
) -> list[str]:
    """Return an argv that runs `argv` confined; hand it to `agent.run`.

    The program is found under /usr or under `readable`. It sees `writable` (a directory, its
    working directory), `readable` (files or directories) and `sockets` (directories of unix
    sockets) under the paths that they have outside; everything but `writable` is read-only. When
    this process is root, the program runs as `user`, which must own `writable` to write there;
    `capabilities` (names as in setpriv(1), such as `chown`) are all it keeps, and an ordinary user
    has none to give: the argument is then without effect. Standard streams and the exit status
    pass through. A program that `refuses_root` sees an ordinary user's own uid in place of 0.
    The program and its children die when the thread that started it ends.

    Raise SANDBOX_UNAVAILABLE when this machine offers no such confinement or `user` does not
    exist or is root. Nothing is ever run unconfined.
    """
    identity = _identity(user)
    _require(identity)
    if refuses_root and os.geteuid() != 0:
        identity = _Identity(os.geteuid(), os.getegid())
    return _argv(argv, identity, writable, sockets, readable, capabilities)


def _argv(
    argv: Iterable[str],
    identity: _Identity,
    writable: Path | None,
    sockets: tuple[Path, ...],
    readable: tuple[Path, ...],
    capabilities: tuple[str, ...],
) -> list[str]:
    root = os.geteuid() == 0
    if root and _asks_others():
        return _remote(argv, writable, sockets, readable, capabilities)
    seen = [(path.absolute(), "ro,nodev") for path in (*readable, *sockets)]
    if writable is not None:
        seen.append((writable.absolute(), "nodev"))
    kept = capabilities if root else ()
    return [
        "setpriv",
        "--pdeathsig",
        "KILL",
        "unshare",
        *(() if root else _user_namespace(identity)),
        *("--mount", "--propagation", "unchanged", "--net", "--pid", "--ipc", "--uts"),
        *("--fork", "--kill-child", "--"),
        *("sh", "-c", _SCRIPT, "sandbox"),
        _ROOT,
        str(identity.uid),
        str(identity.gid),
        "/" if writable is None else str(writable.absolute()),
        ",".join(("-all", *(f"+{name}" for name in kept))),
        *(text for path, options in seen for text in (options, str(path))),
        "--",
        *argv,
    ]


def _asks_others() -> bool:
    """Whether this process is root without the right to make rooms, and the service that has it
    is there: a drill as systemd starts it."""
    return not _may_make_rooms() and ENGINES.is_socket()


@functools.cache
def _may_make_rooms() -> bool:
    text = Path("/proc/self/status").read_text()
    return bool(int(text.partition("CapEff:")[2].split()[0], 16) & _CAP_SYS_ADMIN)


def _remote(
    argv: Iterable[str],
    writable: Path | None,
    sockets: tuple[Path, ...],
    readable: tuple[Path, ...],
    capabilities: tuple[str, ...],
) -> list[str]:
    request = {
        "argv": list(argv),
        "writable": None if writable is None else str(writable.absolute()),
        "sockets": [str(path.absolute()) for path in sockets],
        "readable": [str(path.absolute()) for path in readable],
        "capabilities": list(capabilities),
    }
    client = str(Path(__file__).parent / "remote.py")
    return [sys.executable, "-I", client, str(ENGINES), json.dumps(request)]


def _user_namespace(identity: _Identity) -> tuple[str, ...]:
    if identity.uid == 0:
        return ("--user", "--map-root-user")
    return ("--user", "--map-current-user", "--keep-caps")  # only until setpriv(1) takes all away


def _identity(user: str) -> _Identity:
    if os.geteuid() != 0:
        return _Identity(0, 0)  # inside the user namespace; the user's own uid outside
    try:
        entry = pwd.getpwnam(user)
    except KeyError as error:
        raise Art32Error(
            Code.SANDBOX_UNAVAILABLE,
            f"there is no user `{user}` to run restored data as",
            hint="name an existing user without rights, such as `nobody`",
        ) from error
    if entry.pw_uid == 0 or entry.pw_gid == 0:
        raise Art32Error(
            Code.SANDBOX_UNAVAILABLE,
            f"`{user}` is root, and restored data must not run as root",
            hint="name a user without rights, such as `nobody`",
        )
    return _Identity(entry.pw_uid, entry.pw_gid)


@functools.cache
def _trial(identity: _Identity) -> str | None:
    done = run.run(_argv(("true",), identity, None, (), (), ()), timeout=30)
    if done.returncode == 0:
        return None
    return redact.diagnostic(done.stderr) or f"status {done.returncode}"


def _require(identity: _Identity) -> None:
    for program in ("setpriv", "unshare", "mount"):
        run.find(program, package="util-linux")
    reason = _trial(identity)
    if reason is not None:
        raise Art32Error(
            Code.SANDBOX_UNAVAILABLE,
            f"restored data cannot be confined on this machine: {reason}",
            hint=_HINT,
        )


def check(user: str) -> None:
    """Raise SANDBOX_UNAVAILABLE unless programs can be confined here; tried once per process."""
    _require(_identity(user))


def give(path: Path, user: str) -> None:
    """Make `path`, when this process is root, belong to the uid that confined programs have.

    Raise SANDBOX_UNAVAILABLE as `confined` does.
    """
    identity = _identity(user)
    if os.geteuid() == 0:
        os.chown(path, identity.uid, identity.gid, follow_symlinks=False)
