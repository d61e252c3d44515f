"""`art32 wal push` and `art32 wal fetch`, as archive_command and restore_command run them.

PostgreSQL starts them in its data directory and acts on the exit status (system(3), and
src/backend/access/transam/xlogarchive.c and src/backend/postmaster/pgarch.c):

- push: 0 lets it delete the segment; 1 to 125 has it tried again; more, or a signal, ends its
  archiver process first, which is started anew.
- fetch: 0 has the file taken; 1 to 125 means that there is none, and recovery *ends* and the server
  begins a life of its own without whatever came later; more, or a signal, stops the server.

Hence 1 from fetch only when the service has said `absent`. Nothing here raises, and the status is
given with `os._exit`: an interpreter that cannot flush its output ends with 120.
"""

from __future__ import annotations

import _socket  # `socket` imports selectors, enum and more: as long again as all the rest
import os
import sys

from agent.wal import protocol

ABSENT = 1
FETCH_FAILED = 200
USAGE, SOURCE, TRY_AGAIN = 2, 15, 75
PATIENCE = 900.0
CONTROL = "global/pg_control"
_INT = 4  # a descriptor in a message: an int of C
_USAGE = (
    "usage: art32 wal push [--socket PATH] %p\n"
    "       art32 wal fetch [--socket PATH] [--absent STATUS] %f %p"
)


class Failure(Exception):
    """What to print, and for a push the exit status."""

    def __init__(self, status: int, *lines: str) -> None:
        super().__init__(*lines)
        self.status = status
        self.lines = lines


def words(arguments: list[str]) -> list[str] | None:
    """Return the words from `push` or `fetch` on, when these arguments are for this module.

    Options of all verbs may stand before; help is for the ordinary command line.
    """
    rest = list(arguments)
    while rest and rest[0] in ("--config", "--output") and len(rest) > 1:
        del rest[:2]
    while rest and rest[0].startswith(("--config=", "--output=")):
        del rest[:1]
    if rest[:1] != ["wal"] or rest[1:2] not in (["push"], ["fetch"]):
        return None
    return None if {"-h", "--help"} & set(rest) else rest[1:]


def main(arguments: list[str]) -> None:
    """Do what the words say and end the process with the status; never returns."""
    verb = arguments[0]
    status = FETCH_FAILED if verb == "fetch" else 1
    try:
        status = _run(verb, arguments[1:])
    except Failure as failure:
        _say(verb, failure.lines)
        status = FETCH_FAILED if verb == "fetch" else failure.status
    except BaseException as error:  # noqa: BLE001 - whatever it is, the status must be right
        _say(verb, (f"a defect in art32: `{type(error).__name__}`",))
    finally:
        os._exit(status)


def _say(verb: str, lines: tuple[str, ...]) -> None:
    names = ("error", "hint", "runbook")
    text = "".join(
        f"art32 wal {verb}: {name}: {line}\n"
        for name, line in zip(names, lines, strict=False)
        if line
    )
    try:
        os.write(2, text.encode("utf-8", "replace"))
    except OSError:
        pass


def _run(verb: str, rest: list[str]) -> int:
    options = {"--socket": os.environ.get("ART32_WAL_SOCKET") or protocol.SOCKET, "--absent": "1"}
    while rest and rest[0].startswith("--"):
        if rest[0] == "--":
            del rest[0]
            break
        name, equals, value = rest.pop(0).partition("=")
        if name not in options or (name == "--absent" and verb == "push"):
            raise Failure(USAGE, f"there is no option `{name}`", _USAGE)
        if not equals and not rest:
            raise Failure(USAGE, f"`{name}` wants a value", _USAGE)
        options[name] = value if equals else rest.pop(0)
    if len(rest) != (1 if verb == "push" else 2):
        raise Failure(USAGE, "the number of arguments is wrong", _USAGE)
    if not options["--absent"].isdigit() or not 1 <= int(options["--absent"]) <= 125:
        raise Failure(USAGE, "`--absent` wants a status from 1 to 125", _USAGE)
    if verb == "push":
        _push(options["--socket"], rest[0])
        return 0
    return 0 if _fetch(options["--socket"], *rest) else int(options["--absent"])


def _push(address: str, path: str) -> None:
    directory, name = os.path.split(path)
    control, files = _open(CONTROL), [(name, _open(path))]
    for other in _ready(directory):
        if other != name and len(files) <= protocol.AHEAD:
            try:
                files.append((other, os.open(os.path.join(directory, other), os.O_RDONLY)))
            except OSError:
                break  # nothing is shipped before what comes first
    names = [one for one, _ in files]
    descriptors = [control, *(one for _, one in files)]
    try:
        _ask(address, [protocol.PUSH, *names], descriptors)
    finally:
        for one in descriptors:
            os.close(one)


def _ready(directory: str) -> list[str]:
    """Return what waits to be archived, oldest name first (pgarch.c)."""
    try:
        listed = os.listdir(os.path.join(directory, "archive_status"))
    except OSError:
        return []
    return sorted(name[:-6] for name in listed if name.endswith(".ready"))


def _fetch(address: str, name: str, target: str) -> bool:
    """Bring a file, whole; False when it is proved that there is none.

    PostgreSQL itself syncs what it keeps (durable_rename in xlogarchive.c), and asks again for
    what a crash has taken.
    """
    content = _ask(address, [protocol.FETCH, name], [_open(CONTROL)])
    if content is None:
        return False
    temporary = f"{target}.art32"
    try:
        _write(content, temporary)
        os.rename(temporary, target)
    except OSError as error:
        try:
            os.unlink(temporary)
        except OSError:
            pass
        raise Failure(SOURCE, f"`{target}` cannot be written: {_reason(error)}") from error
    return True


def _write(content: int, path: str) -> None:
    size = os.fstat(content).st_size
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW
    descriptor = os.open(path, flags, 0o600)
    done = 0
    while done < size:
        sent = os.sendfile(descriptor, content, done, size - done)
        if sent == 0:
            raise OSError(0, "it is shorter than it was")
        done += sent
    os.close(descriptor)


def _open(path: str) -> int:
    try:
        return os.open(path, os.O_RDONLY)
    except OSError as error:
        hint = "PostgreSQL runs its commands in the data directory, with `%p` below it"
        raise Failure(SOURCE, f"`{path}` cannot be opened: {_reason(error)}", hint) from error


def _reason(error: OSError) -> str:
    return (error.strerror or str(error) or "error").lower()  # a time-out has no number


def _ask(address: str, request: list[str], descriptors: list[int]) -> int | None:
    """Return the descriptor that came with an answer `ok`, -1 without one, None when `absent`."""
    hint = "systemctl status art32-wal.socket art32-wal.service"
    packed = b"".join(one.to_bytes(_INT, sys.byteorder) for one in descriptors)
    rights = [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, packed)]
    connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
    try:
        connection.settimeout(PATIENCE)
        connection.connect(address)
        connection.sendmsg([protocol.encode(*request)], rights)
        message, sent, _, _ = connection.recvmsg(protocol.MESSAGE_BYTES, _socket.CMSG_LEN(_INT))
    except OSError as error:
        raise Failure(
            TRY_AGAIN, f"the service at `{address}` does not answer: {_reason(error)}", hint
        ) from error
    finally:
        connection.close()
    received = [
        int.from_bytes(data[:_INT], sys.byteorder)
        for level, kind, data in sent
        if (level, kind) == (_socket.SOL_SOCKET, _socket.SCM_RIGHTS) and len(data) >= _INT
    ]
    answer = protocol.decode(message)
    if answer[0] == protocol.OK:
        if request[0] == protocol.FETCH and not received:
            raise Failure(TRY_AGAIN, "the service sent no file", hint)
        return received[0] if received else -1
    if answer == [protocol.ABSENT] and request[0] == protocol.FETCH:
        return None
    if answer[0] == protocol.FAILED and len(answer) > 2 and answer[1].isdigit():
        raise Failure(int(answer[1]), *answer[2:])
    raise Failure(TRY_AGAIN, "the service has ended before its answer", hint)


if __name__ == "__main__":
    main(sys.argv[1:])
