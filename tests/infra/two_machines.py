"""Two machines on one wire: who gets through the first one's firewall.

Runs as root in new namespaces of network and mounts: `unshare --net --mount python -m
tests.infra.two_machines`. Standard input has the firewall, the users of the metadata service, the
passwd file and the probes as JSON; standard output the verdict of each probe,
those outwards first.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

MACHINE = "10.32.64.20"
METADATA = "169.254.169.254"
Probe = Sequence[str]
"""Way (`in` from the other machine, `out` to it), user of an `out`, source, target, port."""


def connect(source: str, target: str, port: int) -> str:
    """Try a connection and say what became of it."""
    with socket.socket() as one:
        one.settimeout(0.5)
        try:
            if source:
                one.bind((source, 0))
            one.connect((target, port))
        except TimeoutError:
            return "silence"
        except OSError:
            return "refused"
        return "reached"


def _as_user(user: str, target: str, port: int) -> str:
    """Connect as a user, in a process of its own: who was somebody else does not come back."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.setuid(int(user))
        os.write(writer, connect("", target, port).encode())
        os._exit(0)
    os.waitpid(child, 0)
    return os.read(reader, 100).decode()


def _run(*words: str, text: str | None = None) -> int:
    return subprocess.run(words, input=text, text=True, check=False).returncode


def _must(*words: str) -> None:
    subprocess.run(words, check=True)


@contextlib.contextmanager
def _listeners(addresses: Sequence[tuple[str, int]]) -> Iterator[None]:
    """Accept and close whatever comes."""
    servers = [socket.create_server(address) for address in addresses]

    def serve(server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                server.accept()[0].close()

    for server in servers:
        threading.Thread(target=serve, args=(server,), daemon=True).start()
    yield
    for server in servers:
        server.close()


def main() -> int:
    """Lay the wire, load the firewall, try every probe."""
    given = json.load(sys.stdin)
    with tempfile.NamedTemporaryFile("w", suffix=".passwd") as passwd:
        passwd.write(given["passwd"])
        passwd.flush()
        os.chmod(passwd.name, 0o644)
        _must("mount", "--bind", passwd.name, "/etc/passwd")
    peer = subprocess.Popen(
        ["unshare", "--net", sys.executable, "-m", __spec__.name, "peer"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert peer.stdout is not None
    assert peer.stdin is not None
    try:
        peer.stdout.readline()  # it is in its namespace
        inside = ("nsenter", f"--net=/proc/{peer.pid}/ns/net")
        _must("ip", "link", "set", "lo", "up")
        _must("ip", "link", "add", "here", "type", "veth", "peer", "name", "there")
        _must("ip", "link", "set", "there", "netns", str(peer.pid))
        _must("ip", "address", "add", f"{MACHINE}/32", "dev", "here")
        _must("ip", "link", "set", "here", "up")
        _must("ip", "route", "add", "default", "dev", "here")
        for address in (METADATA, *given["peers"]):
            _must(*inside, "ip", "address", "add", f"{address}/32", "dev", "there")
        _must(*inside, "ip", "link", "set", "there", "up")
        _must(*inside, "ip", "link", "set", "lo", "up")
        _must(*inside, "ip", "route", "add", "default", "dev", "there")
        peer.stdin.write("listen\n")
        peer.stdin.flush()
        peer.stdout.readline()
        loaded = [_run("nft", "--file", "-", text=text) for text in given["rules"]]
        coming = [probe for probe in given["probes"] if probe[0] == "in"]
        going = [probe for probe in given["probes"] if probe[0] == "out"]
        found = [_as_user(user, target, int(port)) for _, user, _, target, port in going]
        with _listeners([(MACHINE, port) for port in sorted({int(one[4]) for one in coming})]):
            peer.stdin.write(json.dumps(coming) + "\n")
            peer.stdin.flush()
            found += json.loads(peer.stdout.readline())
        print(json.dumps({"loaded": loaded, "verdicts": found}))
    finally:
        peer.stdin.close()
        peer.wait()
    return 0


def peer() -> int:
    """Play everybody else, and the metadata service."""
    print("here", flush=True)
    sys.stdin.readline()
    with _listeners([(METADATA, 80)]):
        print("listening", flush=True)
        probes: list[Probe] = json.loads(sys.stdin.readline())
        with ThreadPoolExecutor(max(1, len(probes))) as pool:
            found = pool.map(lambda one: connect(one[2], one[3], int(one[4])), probes)
            print(json.dumps(list(found)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(peer() if sys.argv[1:] == ["peer"] else main())
