"""Mail that a real Postfix cannot hand on, until the relay takes its credential again."""

from __future__ import annotations

import os
import shutil
import socketserver
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fixtures.daemons import Place, place
from tests.fixtures.ports import free_port
from tests.fixtures.repository import MakeRepository, text
from tests.fixtures.waiting import until
from tests.runbooks.world import World

__all__ = ["place"]


class Relay(socketserver.ThreadingTCPServer):
    """A smarthost: it defers every sender until its flag is there (RFC 5321, a reply of 450)."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, flag: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Session)
        self.flag = flag
        self.taken: list[str] = []


class _Session(socketserver.StreamRequestHandler):
    server: Relay

    def handle(self) -> None:
        self.wfile.write(b"220 relay\r\n")
        while line := self.rfile.readline().decode().strip():
            word = line.split()[0].upper()
            if word == "MAIL" and not self.server.flag.exists():
                self.wfile.write(b"450 4.7.0 no valid credential\r\n")
            elif word == "DATA":
                self.wfile.write(b"354 go on\r\n")
                while self.rfile.readline() not in (b".\r\n", b""):
                    pass
                self.server.taken.append(line)
                self.wfile.write(b"250 2.0.0 taken\r\n")
            elif word == "QUIT":
                self.wfile.write(b"221 bye\r\n")
                return
            else:
                self.wfile.write(b"250 ok\r\n")


@pytest.fixture
def relay(tmp_path: Path) -> Iterator[Relay]:
    with Relay(tmp_path / "credential-is-valid") as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join(10)


@pytest.fixture
def postfix(place: Place, relay: Relay) -> Iterator[Path]:
    """Postfix with everything going to the relay; yields its configuration directory."""
    if shutil.which("postfix", path="/usr/sbin") is None or os.geteuid() != 0:
        pytest.skip("Postfix is started by root only")
    here = place.directory / "postfix"
    here.mkdir(mode=0o755)
    for name in ("spool", "data"):
        (here / name).mkdir()
    shutil.chown(here / "data", "postfix")
    served = f"127.0.0.1:{free_port()} inet n - n - - smtpd"
    master = Path("/etc/postfix/master.cf.proto").read_text().splitlines()
    lines = [served if x.startswith("smtp  ") and "inet" in x else x for x in master]
    (here / "master.cf").write_text("\n".join(lines) + "\n")
    (here / "main.cf").write_text(
        f"compatibility_level = 3.6\nqueue_directory = {here}/spool\n"
        f"data_directory = {here}/data\nmyhostname = mail.example.org\nmydestination =\n"
        f"relayhost = [127.0.0.1]:{relay.server_address[1]}\ninet_interfaces = 127.0.0.1\n"
        "smtp_host_lookup = native\nmynetworks = 127.0.0.0/8\nalias_maps =\n"
        f"maillog_file = {here}/log\nmaillog_file_prefixes = {here}\n"
    )
    for name in ("postfix-files", "dynamicmaps.cf"):
        shutil.copy(f"/etc/postfix/{name}", here)
    subprocess.run(["/usr/sbin/postfix", "-c", str(here), "start"], check=True, capture_output=True)
    try:
        yield here
    finally:
        subprocess.run(["/usr/sbin/postfix", "-c", str(here), "stop"], capture_output=True)


def test_mail_that_the_relay_refused_goes_out_with_the_new_credential(
    postfix: Path, relay: Relay, make_repository: MakeRepository, tmp_path: Path
) -> None:
    site = make_repository(
        f'[[sources]]\nname = "files"\nkind = "directory"\npath = {text(tmp_path)}'
    )
    world = World(tmp_path, site, {"UNIT": "relay-credential", "PATIENCE": "90"})
    world.tool("postqueue", f'exec /usr/sbin/postqueue -c {postfix} "$@"')
    world.tool("systemctl", f'[ "$*" = "restart relay-credential" ]; touch {relay.flag}')
    for number in range(3):
        subprocess.run(
            [
                "/usr/sbin/sendmail",
                "-C",
                str(postfix),
                "-f",
                "shop@example.org",
                "anna.canary@example.net",
            ],
            input=f"Subject: {number}\n\nhello\n",
            text=True,
            check=True,
        )

    def deferred() -> bool:
        said = subprocess.run(
            ["/usr/sbin/postqueue", "-c", str(postfix), "-j"], capture_output=True, text=True
        )
        return said.stdout.count('"queue_name": "deferred"') == 3

    until(deferred, "the relay defers all three")
    done = world.mends("mail-stuck")
    assert len(relay.taken) == 3
    assert "anna.canary" not in done.stdout + done.stderr
