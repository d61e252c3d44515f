"""Real daemons under the presets: each writes numbered lines while its log is rotated.

Every line comes back once. The configuration of each is the one in docs/rotation.md, moved into a
directory of the test.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.config.logs_presets import PRESETS
from tests.fixtures.daemons import ROOT, Place, listening, started
from tests.fixtures.databases import SERVER_USER, postgresql_server
from tests.fixtures.log_writers import APPENDER, own_name
from tests.fixtures.ports import free_port
from tests.fixtures.repository import MakeRepository, Repository, text
from tests.fixtures.waiting import until

NUMBER = re.compile(rb"number=([0-9]+)")
ROTATIONS = 3
PAGE = ROOT / "docs" / "rotation.md"
UNIT = ROOT / "agent" / "share" / "systemd" / "art32-logs-rotate.service"
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="the daemon has to be started by root")


def art32(site: Repository, *words: str) -> bytes:
    done = subprocess.run(
        [sys.executable, "-m", "agent", "--config", str(site.config_file), *words],
        capture_output=True,
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == 0, (done.stdout, done.stderr)
    return done.stdout


def require_every_line_once(site: Repository, count: int) -> bytes:
    """Restore, and fail unless there is each number once and no raw address."""
    lines = art32(site, "logs", "restore", "web", "--to", "-")
    assert sorted(int(number) for number in NUMBER.findall(lines)) == list(range(count))
    return lines


def rotated_while(
    site: Repository, log: Path, write: Callable[[int, int], None], count: int
) -> None:
    """Write `count` numbers in a thread while the log is rotated; then ship all of it."""
    failures: list[BaseException] = []

    def work() -> None:
        try:
            write(0, count)
        except BaseException as error:  # noqa: BLE001 - raised again below
            failures.append(error)

    writer = threading.Thread(target=work)
    writer.start()
    cuts = 0
    while writer.is_alive() or cuts < ROTATIONS:
        time.sleep(0.2)
        art32(site, "logs", "rotate", "--force")
        cuts += 1
    writer.join()
    if failures:
        raise failures[0]
    # whoever has the answer to its request knows nothing of the daemon's log yet
    until(lambda: numbers_are_there(site, count), "the daemon has written all, and it is shipped")
    assert not list(log.parent.glob("*.raw"))


def numbers_are_there(site: Repository, count: int) -> bool:
    """Rotate; whether as many lines as were written can be restored."""
    art32(site, "logs", "rotate", "--force")
    return len(NUMBER.findall(art32(site, "logs", "restore", "web", "--to", "-"))) >= count


def section(log: Path, preset: str, pid_file: Path, *more: str) -> str:
    """Return the page's section for a preset, with the paths of this test."""
    (found,) = [
        one
        for one in PAGE.read_text().split("```toml\n")[1:]
        if f'preset = "{preset}"' in one and "every" not in one.partition("```")[0]
    ]
    lines = [
        line
        for line in found.partition("```")[0].splitlines()
        if not line.startswith(("name = ", "path = ", "pid_file = "))
    ]
    lines += ['name = "web"', f"path = {text(log)}", f"pid_file = {text(pid_file)}", *more]
    return "\n".join([*lines, "[logs.scan]", f"directory = {text(log.parent / 'scan')}"])


def pipelined(port: int, first: int, last: int) -> None:
    """Send requests down one connection and read the answers to all of them."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        for start in range(first, last, 50):
            end = min(start + 50, last)
            for number in range(start, end):
                connection.sendall(b"GET /?number=%d HTTP/1.1\r\nHost: x\r\n\r\n" % number)
            answers = b""
            while answers.count(b"HTTP/1.1 ") < end - start:
                more = connection.recv(1 << 16)
                assert more, "the server closed the connection"
                answers += more
            time.sleep(0.01)


def one_by_one(port: int, first: int, last: int) -> None:
    """Send each request down a connection of its own, and read its answer to the end."""
    for number in range(first, last):
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(
                b"GET /?number=%d HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" % number
            )
            while connection.recv(1 << 16):
                pass


def nginx_configuration(place: Place, log: Path, pid_file: Path, port: int) -> list[str]:
    """Write a configuration and return the command line."""
    temporary = "".join(
        f"{kind}_temp_path {place.directory}/{kind};"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    conf = place.path("/etc/nginx.conf")
    user = "user root;" if os.geteuid() == 0 else ""
    conf.write_text(
        f"daemon off; {user} worker_processes 2; pid {pid_file};"
        f"error_log {place.directory}/error.log; events {{}} http {{ {temporary}"
        f"access_log {log}; keepalive_requests 1000000;"
        f"server {{ listen 127.0.0.1:{port}; return 204; }} }}"
    )
    return ["nginx", "-e", "stderr", "-c", str(conf)]


def apache_configuration(place: Place, log: Path, pid_file: Path, port: int) -> list[str]:
    """Write a configuration and return the command line."""
    modules = "\n".join(
        f"LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so"
        for name in ("mpm_event", "authz_core")
    )
    conf = place.path("/etc/apache2.conf")
    conf.write_text(
        f"ServerRoot {place.directory}\nServerName x\n{modules}\nListen 127.0.0.1:{port}\n"
        f"PidFile {pid_file}\nErrorLog {place.directory}/error.log\n"
        f'CustomLog {log} "%h %t \\"%r\\" %>s"\n'
        + ("User nobody\nGroup nogroup\n" if os.geteuid() == 0 else "")
    )
    return ["apache2", "-DFOREGROUND", "-f", str(conf)]


def test_nginx_reopens_and_loses_nothing(make_repository: MakeRepository, place: Place) -> None:
    port, log, pid_file = free_port(), place.log("access.log"), place.path("/run/nginx.pid")
    argv = nginx_configuration(place, log, pid_file, port)
    site = make_repository("", more=section(log, "nginx", pid_file))
    with started(argv, place, "nginx"):
        until(lambda: listening(port), "nginx listens")
        rotated_while(site, log, lambda first, last: pipelined(port, first, last), 3000)
    lines = require_every_line_once(site, 3000)
    assert b"127.0.0.1" not in lines


def test_apache_reopens_gracefully_and_loses_nothing(
    make_repository: MakeRepository, place: Place
) -> None:
    port, log, pid_file = free_port(), place.log("access.log"), place.path("/run/apache2.pid")
    argv = apache_configuration(place, log, pid_file, port)
    site = make_repository("", more=section(log, "apache", pid_file))
    with started(argv, place, "apache"):
        until(lambda: listening(port), "Apache listens")
        rotated_while(site, log, lambda first, last: one_by_one(port, first, last), 800)
    require_every_line_once(site, 800)


def test_rsyslog_reopens_and_loses_nothing(make_repository: MakeRepository, place: Place) -> None:
    port, log, pid_file = free_port(), place.log("syslog"), place.path("/run/rsyslogd.pid")
    conf = place.path("/etc/rsyslog.conf")
    conf.write_text(
        f'module(load="imptcp") input(type="imptcp" port="{port}" address="127.0.0.1")\n'
        f'action(type="omfile" file="{log}")\n'
    )
    site = make_repository("", more=section(log, "rsyslog", pid_file))

    def write(first: int, last: int) -> None:
        with socket.create_connection(("127.0.0.1", port)) as connection:
            for number in range(first, last):
                message = b"<13>Nov 24 06:00:00 web1 app: number=%d from 203.0.113.77\n" % number
                connection.sendall(message)
                if number % 50 == 0:
                    time.sleep(0.01)

    argv = ["rsyslogd", "-n", "-f", str(conf), "-i", str(pid_file)]
    with started(argv, place, "rsyslogd"):
        until(lambda: listening(port) and pid_file.exists(), "rsyslogd listens")
        rotated_while(site, log, write, 3000)
    lines = require_every_line_once(site, 3000)
    assert b"203.0.113.77" not in lines


@as_root
def test_postfix_reopens_and_loses_nothing(make_repository: MakeRepository, place: Place) -> None:
    if shutil.which("postfix", path="/usr/sbin") is None:
        pytest.skip("postfix is not installed: scripts/system-packages test")
    log, conf = place.log("mail.log"), place.path("/etc/postfix")
    queue, data = place.directory / "queue", place.directory / "data"
    for directory in (conf, queue, data):
        directory.mkdir()
    shutil.chown(data, "postfix")
    (conf / "main.cf").write_text(
        f"compatibility_level = 3.6\nqueue_directory = {queue}\ndata_directory = {data}\n"
        "command_directory = /usr/sbin\ndaemon_directory = /usr/lib/postfix/sbin\n"
        f"mail_owner = postfix\nsetgid_group = postdrop\nmaillog_file = {log}\n"
        f"maillog_file_prefixes = {place.directory}\ninet_interfaces = loopback-only\n"
        "inet_protocols = ipv4\nmyhostname = test.example\nmydestination =\n"
    )
    (conf / "master.cf").write_text(
        "postlog unix-dgram n - n - 1 postlogd\npickup unix n - n 60 1 pickup\n"
        "cleanup unix n - n - 0 cleanup\nqmgr unix n - n 300 1 qmgr\n"
    )
    pid_file = queue / "pid" / "master.pid"
    site = make_repository("", more=section(log, "postfix", pid_file))

    def write(first: int, last: int) -> None:
        for number in range(first, last):
            line = f"number={number} from 203.0.113.77"
            subprocess.run(
                ["postlog", "-c", str(conf), line], check=True, stderr=subprocess.DEVNULL
            )

    subprocess.run(["postfix", "-c", str(conf), "start"], check=True, stderr=subprocess.DEVNULL)
    try:
        until(pid_file.exists, "postfix runs")
        rotated_while(site, log, write, 60)
    finally:
        subprocess.run(["postfix", "-c", str(conf), "stop"], check=False, stderr=subprocess.DEVNULL)
    assert b"203.0.113.77" not in require_every_line_once(site, 60)


@pytest.mark.slow
def test_postgresqls_collector_reopens_and_loses_nothing(
    make_repository: MakeRepository, place: Place
) -> None:
    log = place.log("postgresql.log")
    log.parent.chmod(0o777 | 0o1000)  # as Debian's /var/log/postgresql: sticky
    settings = {
        "logging_collector": "on",
        "log_directory": str(log.parent),
        "log_filename": log.name,
        "log_min_messages": "log",
    }
    with postgresql_server(more=settings) as server:
        pid_file = server.socket / "data" / "postmaster.pid"
        owner = f"owner = {text(SERVER_USER)}" if os.geteuid() == 0 else ""
        site = make_repository("", more=section(log, "postgresql", pid_file, owner))

        def write(first: int, last: int) -> None:
            for start in range(first, last, 100):
                end = min(start + 100, last) - 1
                server.sql(
                    f"DO $$ BEGIN FOR i IN {start}..{end} LOOP "
                    "RAISE LOG 'number=% from 203.0.113.77', i; END LOOP; END $$"
                )

        rotated_while(site, log, write, 2000)
    assert b"203.0.113.77" not in require_every_line_once(site, 2000)


def test_every_preset_is_tried_on_its_daemon() -> None:
    tried = set(re.findall(r'section\(log, "([a-z]+)"', Path(__file__).read_text()))
    assert set(PRESETS) == tried


def test_every_section_of_the_page_is_a_configuration(make_repository: MakeRepository) -> None:
    blocks = re.findall(r"^```toml\n(.*?)^```$", PAGE.read_text(), re.M | re.S)
    assert len(blocks) == 8
    for block in blocks:
        assert make_repository("", more=block).configuration().logs.rotate


@as_root
def test_the_units_capabilities_are_enough(make_repository: MakeRepository, place: Place) -> None:
    """A log of another user, a directory of another user, a lease, a signal to another user."""
    allowed = re.search(r"^CapabilityBoundingSet=(.*)$", UNIT.read_text(), re.M)
    assert allowed
    names = [name.removeprefix("CAP_").lower() for name in allowed[1].split()]
    bounding = ",".join(["-all", *(f"+{name}" for name in names)])
    log, pid_file = place.log("app.log"), place.path("/run/app.pid")
    shutil.chown(log.parent, "nobody")
    drop = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"]
    argv = [*drop, sys.executable, "-c", APPENDER, str(log), str(pid_file), "1000000", "0.05"]
    pid_file.parent.chmod(0o1777)
    how = [
        "[[logs.rotate]]",
        'name = "web"',
        f"path = {text(log)}",
        f"pid_file = {text(pid_file)}",
        f"process = {text(own_name())}",
        'signal = "USR1"',
        'owner = "nobody"',
        "[logs.scan]",
        f"directory = {text(place.directory / 'scan')}",
    ]
    site = make_repository("", more="\n".join(how))
    with started(argv, place, "appender"):
        until(lambda: pid_file.exists() and log.exists(), "the appender writes")
        art = [sys.executable, "-m", "agent", "--config", str(site.config_file)]
        done = subprocess.run(
            ["setpriv", f"--bounding-set={bounding}", *art, "logs", "rotate", "--force"],
            capture_output=True,
            cwd=ROOT,
            check=False,
        )
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"shipped and removed" in done.stdout
