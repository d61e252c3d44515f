"""Each daemon of docs/daemons.md, real, under hostile requests: its log without the address."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import smtplib
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fixtures.daemons import Place, block, blocks, files_with, listening, started
from tests.fixtures.databases import postgresql_binaries
from tests.fixtures.ports import free_port
from tests.fixtures.waiting import PATIENCE, until

# the client's own address, and one that it only claims
CLIENT = "127.77.88.99"
CLAIMED = "203.0.113.77"
CLAIMED_V6 = "2001:db8:85a3:8d3:1319:8a2e:370:7348"
RAW = [
    *(CLIENT, CLAIMED, CLAIMED_V6, "8a2e:370:7348"),
    *("203%2E0%2E113%2E77", "jane.roe@example.com", "jane.roe%40example.com"),
]
HOSTILE = [
    ("X-Forwarded-For", f"{CLAIMED}, {CLAIMED_V6}"),
    ("Forwarded", f'for="[{CLAIMED_V6}]:4711";by={CLAIMED}'),
    ("Referer", f'http://{CLAIMED}/a?email=jane.roe%40example.com&q="{CLAIMED}"'),
    ("User-Agent", f'"{CLAIMED}"\\x22{CLAIMED} \t[{CLAIMED_V6}] <13>Nov 24 06:00:00 nginx: forged'),
]


def request(port: int, path: str, *, source: str = CLIENT) -> bytes:
    """Send one hostile request and return the answer."""
    server, own = ("127.0.0.1", port), (source, 0)
    with socket.create_connection(server, PATIENCE, source_address=own) as client:
        lines = [f"GET {path} HTTP/1.1", "Host: example.org", "Connection: close"]
        lines += [f"{name}: {value}" for name, value in HOSTILE]
        client.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        answer = b""
        while piece := client.recv(65536):
            answer += piece
        return answer


PATHS = [
    f"/?ip={CLAIMED}&next=http://{CLAIMED}/",
    f"/%22{CLAIMED}%22?q=whois%20{CLAIMED}",
    "/missing?a=203%2E0%2E113%2E77&email=jane.roe@example.com",
    f"/[{CLAIMED_V6}]/x",
]


def raw_below(place: Place, *apart_from: str) -> list[tuple[str, bytes]]:
    """Return the files of a place that hold something raw; its data directories are named.

    Findings of the scan are meant to hold the addresses of attackers.
    """
    found = files_with([raw.encode() for raw in RAW], [place.directory], 0)
    apart_from = (*apart_from, "scan")
    return [one for one in found if not any(f"/{name}/" in one[0] for name in apart_from)]


NGINX = """\
daemon off;
master_process on;
pid {here}/nginx.pid;
worker_processes 2;
events {{ worker_connections 64; }}
{snippet}
"""
NGINX_FORMAT = """
log_format tested '$remote_addr - $remote_user [$time_local] "$request" $status '
    '$body_bytes_sent "$http_referer" "$http_user_agent" "$http_x_forwarded_for" "$http_forwarded"';
"""
NGINX_INSIDE = """
client_body_temp_path {here}/body; proxy_temp_path {here}/proxy; fastcgi_temp_path {here}/fcgi;
uwsgi_temp_path {here}/uwsgi; scgi_temp_path {here}/scgi;
server {{
    listen 127.0.0.1:{port};
    root {here}/empty;
    location /denied {{ deny all; }}
}}
"""


@contextlib.contextmanager
def nginx(place: Place) -> Iterator[int]:
    """Run nginx with the page's configuration; its log format also has the forwarded addresses."""
    here, port = place.directory, free_port()
    (here / "empty").mkdir(exist_ok=True)
    snippet = place.moved(block("nginx"))
    for found, put in (
        ("http {\n", f"http {{{NGINX_FORMAT}"),
        (" combined;", " tested;"),
        ("# everything else", NGINX_INSIDE.format(here=here, port=port) + "#"),
    ):
        assert snippet.count(found) == 1
        snippet = snippet.replace(found, put)
    file = here / "nginx.conf"
    file.write_text(NGINX.format(here=here, snippet=snippet))
    argv = ["nginx", "-c", str(file), "-e", str(here / "startup.log"), "-p", str(here)]
    with started(argv, place, "nginx") as running:
        until(lambda: listening(port) or running.child.poll() is not None, "nginx listens")
        assert running.child.poll() is None, running.said()
        yield port


def pipes_of(*names: str) -> str:
    """Return the `[[logs.pipes]]` of the page with these names."""
    chosen = [text for text in blocks("toml") if any(f'name = "{name}"' in text for name in names)]
    assert chosen
    return "\n".join(chosen)


def test_nginx_writes_neither_log_raw(place: Place) -> None:
    place.configure(pipes_of("nginx-access"))
    with place.pipe() as pipe, nginx(place) as port:
        for path in [*PATHS, "/denied"]:
            request(port, path)
        until(lambda: place.read("nginx-access.log").count("\n") == 5, "five lines")
        until(lambda: "forbidden by rule" in place.read("nginx-error.log"), "an error")
        assert pipe.stop() == 0, pipe.said()
    access, error = place.read("nginx-access.log"), place.read("nginx-error.log")
    assert access.count("127.77.88.0 - - [") == 5
    assert "client: 127.77.88.0, server:" in error
    assert raw_below(place) == []
    assert "<13>Nov 24 06:00:00 nginx: forged" in access  # one record stays one line


def test_attacks_are_found_in_what_is_never_written(place: Place) -> None:
    place.configure(pipes_of("nginx-access"))
    with place.pipe() as pipe, nginx(place) as port:
        for number in range(30):
            request(port, f"/?file=../../../../etc/passwd&n={number}")
        until(lambda: place.read("nginx-access.log").count("etc/passwd") == 30, "the log")
        assert pipe.stop() == 0, pipe.said()
    scan = place.path("/var/lib/art32/scan")
    findings = [json.loads(line) for line in (scan / "findings.jsonl").read_text().splitlines()]
    assert {"pipe:nginx-access"} == {one["source"] for one in findings}
    assert CLIENT in {one["who"] for one in findings}
    (record,) = scan.glob("records/*/*.json")
    assert CLIENT not in record.read_text()
    assert json.loads(record.read_text())["sources"]["pipe:nginx-access"]["lines"] == 30


APACHE = """\
ServerName example.org
ServerRoot /
DefaultRuntimeDir {here}
PidFile {here}/apache.pid
Listen 127.0.0.1:{port}
DocumentRoot {here}/empty
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
{user}
LogLevel info
LogFormat "%h %l %u %t \\"%r\\" %>s %O \\"%{{Referer}}i\\" \\"%{{User-Agent}}i\\" \\
\\"%{{X-Forwarded-For}}i\\" \\"%{{Forwarded}}i\\"" combined
<Location /denied>
    Require all denied
</Location>
{snippet}
"""


@contextlib.contextmanager
def apache(place: Place) -> Iterator[int]:
    """Run Apache with the page's configuration; its log format also has the forwarded addresses."""
    here, port = place.directory, free_port()
    (here / "empty").mkdir(exist_ok=True)
    file = here / "apache.conf"
    user = "User nobody\nGroup nogroup" if os.geteuid() == 0 else ""
    snippet = place.moved(block("apache"))
    file.write_text(APACHE.format(here=here, port=port, user=user, snippet=snippet))
    with started(["apache2", "-f", str(file), "-D", "FOREGROUND"], place, "apache") as running:
        until(lambda: listening(port) or running.child.poll() is not None, "Apache listens")
        assert running.child.poll() is None, running.said()
        yield port


def test_apache_writes_neither_log_raw(place: Place) -> None:
    with apache(place) as port:
        for path in [*PATHS, "/denied"]:
            request(port, path)
        until(lambda: place.read("apache-access.log").count("\n") == 5, "five lines")
        until(lambda: "client denied by" in place.read("apache-error.log"), "an error")
    access, error = place.read("apache-access.log"), place.read("apache-error.log")
    assert access.count("127.77.88.0 - - [") == 5
    assert "[client 127.77.88.0:" in error
    assert raw_below(place) == []


HAPROXY = """\
{snippet}
    mode http
    timeout connect 5s
    timeout client 5s
    timeout server 5s
frontend web
    bind 127.0.0.1:{port}
    capture request header X-Forwarded-For len 400
    capture request header Forwarded len 400
    capture request header Referer len 400
    capture request header User-Agent len 400
    http-request return status 200 if {{ path_beg / }}
"""


@contextlib.contextmanager
def haproxy(place: Place) -> Iterator[int]:
    """Run HAProxy with the page's configuration, and captured headers."""
    port = free_port()
    file = place.directory / "haproxy.cfg"
    file.write_text(HAPROXY.format(snippet=place.moved(block("haproxy")).rstrip(), port=port))
    with started(["haproxy", "-db", "-f", str(file)], place, "haproxy") as running:
        until(lambda: listening(port) or running.child.poll() is not None, "HAProxy listens")
        assert running.child.poll() is None, running.said()
        yield port


def test_haproxy_writes_nothing_raw(place: Place) -> None:
    place.configure(pipes_of("haproxy"))
    with place.pipe() as pipe, haproxy(place) as port:
        for path in PATHS:
            request(port, path)
        until(lambda: place.read("haproxy.log").count("127.77.88.0:") == 4, "four lines")
        assert pipe.stop() == 0, pipe.said()
    log = place.read("haproxy.log")
    assert raw_below(place) == []
    assert not log.startswith("<")


def test_postfix_writes_nothing_raw(place: Place) -> None:
    if os.geteuid() != 0:
        pytest.skip("Postfix starts as root only")
    place.configure(pipes_of("postfix"))
    with place.pipe(), postfix(place) as port:
        with smtplib.SMTP("127.0.0.1", port, source_address=(CLIENT, 0)) as client:
            client.ehlo(f"[IPv6:{CLAIMED_V6}]")
            refused = client.docmd("RCPT", "TO:<x>")
            assert refused[0] == 503
            client.sendmail("jane.roe@example.com", ["john@nowhere.invalid"], "Subject: x\n\nx\n")
        until(lambda: "status=" in place.read("mail.log"), "a delivery")
        until(lambda: "disconnect from" in place.read("mail.log"), "a disconnect")
    log = place.read("mail.log")
    assert "client=unknown[127.77.88.0]" in log or "[127.77.88.0]" in log
    assert "postfix/qmgr[" in log
    assert raw_below(place, "spool") == []
    assert "john@nowhere.invalid" not in log


@contextlib.contextmanager
def postfix(place: Place) -> Iterator[int]:
    """Run Postfix with the page's `maillog_file`; it lives below /var, as that demands."""
    port = free_port()
    here = place.directory / "postfix"
    here.mkdir(mode=0o755)
    for name in ("spool", "data"):
        (here / name).mkdir()
    shutil.chown(here / "data", "postfix")
    master = Path("/etc/postfix/master.cf.proto").read_text().splitlines()
    served = [
        f"127.0.0.1:{port} inet n - n - - smtpd" if x.startswith("smtp  ") and "inet" in x else x
        for x in master
    ]
    (here / "master.cf").write_text("\n".join(served) + "\n")
    (here / "main.cf").write_text(
        f"compatibility_level = 3.6\nqueue_directory = {here}/spool\n"
        f"data_directory = {here}/data\nmyhostname = mail.example.org\nmydestination =\n"
        "inet_interfaces = 127.0.0.1\nmynetworks = 127.0.0.0/8\nalias_maps =\n"
        f"{place.moved(block('postfix'))}"
    )
    for name in ("postfix-files", "dynamicmaps.cf"):
        shutil.copy(f"/etc/postfix/{name}", here)
    with started(["postfix", "-c", str(here), "start-fg"], place, "postfix") as running:
        until(lambda: listening(port) or running.child.poll() is not None, "Postfix listens")
        assert running.child.poll() is None, running.said()
        yield port
        subprocess.run(["postfix", "-c", str(here), "stop"], capture_output=True, check=False)


def test_postgresql_writes_nothing_raw(place: Place) -> None:
    binaries = postgresql_binaries()
    if binaries is None or shutil.which("pg_ctlcluster") is None or os.geteuid() != 0:
        pytest.skip("needs PostgreSQL, Debian's pg_ctlcluster and root")
    place.configure(pipes_of("postgresql").replace('"postgres"', '"nogroup"'))
    with place.pipe(), postgresql(place, binaries.parts[4]) as port:
        done = subprocess.run(
            ["psql", "-X", "-h", "127.0.0.1", "-p", str(port), "-U", "nobody", "-d", "postgres"],
            input=f"SELECT '{CLAIMED}'::inet, 'jane.roe@example.com'; "
            f"SELECT 1/0 AS \"{CLAIMED_V6}\", 'jane.roe@example.com';",
            capture_output=True,
            text=True,
            check=False,
        )
        assert CLAIMED in done.stdout
        until(lambda: "division by zero" in place.read("postgresql.log"), "the error")
        until(lambda: "disconnection:" in place.read("postgresql.log"), "the end")
    log = place.read("postgresql.log")
    assert "connection received: host=127.0.0.0 port=" in log
    assert "STATEMENT:" in log
    assert raw_below(place, "data") == []


@contextlib.contextmanager
def postgresql(place: Place, version: str) -> Iterator[int]:
    """Run a cluster of Debian's tools with the page's settings and commands."""
    port, here = free_port(), place.directory / "pg"
    (here / "conf").mkdir(parents=True)
    for path in (here, here / "conf"):
        shutil.chown(path, "nobody")
    (here / "run").mkdir()
    shutil.chown(here / "run", "nobody")
    environment = {**os.environ, "PG_CLUSTER_CONF_ROOT": str(here / "conf")}

    def run(*argv: str) -> None:
        done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    run(
        *("pg_createcluster", "-u", "nobody", "-d", str(here / "data"), "-s", str(here / "run")),
        *("-p", str(port), version, "main", "--", "--no-sync", "--auth=trust"),
    )
    settings = here / "conf" / version / "main" / "postgresql.conf"
    more = "log_connections = on\nlog_disconnections = on\nfsync = off\n"
    settings.write_text(settings.read_text() + place.moved(block("postgresql")) + more)
    try:
        script = place.moved(block("sh postgresql"))
        script = script.replace("/etc/postgresql/", f"{here}/conf/").replace("15", version)
        run("sh", "-e", "-c", script)
        yield port
    finally:
        run("pg_ctlcluster", version, "main", "stop", "-m", "immediate")


def test_rsyslog_writes_nothing_raw(place: Place) -> None:
    with rsyslog(place) as log_socket:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.connect(str(log_socket))
            for number in range(200):
                text = (
                    f"<38>Nov 24 06:00:00 sshd[{number}]: Failed password for jane from {CLAIMED}"
                )
                sender.send(f"{text} port {number} ssh2\nand {CLAIMED_V6}".encode())
        until(lambda: place.read("syslog.log").count("Failed password") == 200, "200 lines")
    log = place.read("syslog.log")
    assert [f"sshd[{number}]:" in log for number in range(200)] == [True] * 200
    assert log.count("\n") == 200
    assert raw_below(place) == []


@contextlib.contextmanager
def rsyslog(place: Place) -> Iterator[Path]:
    """Run rsyslogd with the page's action and a socket of the test's own."""
    here = place.directory
    file = here / "rsyslog.conf"
    file.write_text(
        f'global(workDirectory="{here}")\nmodule(load="imuxsock" SysSock.Use="off")\n'
        f'input(type="imuxsock" Socket="{here}/log" RateLimit.Interval="0")\n'
        + place.moved(block("rsyslog"))
    )
    argv = ["rsyslogd", "-n", "-f", str(file), "-i", str(here / "rsyslog.pid")]
    with started(argv, place, "rsyslog") as running:
        until(
            lambda: (here / "log").exists() or running.child.poll() is not None, "rsyslog listens"
        )
        assert running.child.poll() is None, running.said()
        yield here / "log"


def test_apache_writes_on_through_kills_and_graceful_restarts_and_loses_nothing(
    place: Place,
) -> None:
    with apache(place) as port:
        file = place.directory / "apache.pid"
        until(lambda: file.exists() and file.read_text().strip(), "Apache's process id")
        server = int(file.read_text())
        sent = 0

        def send(count: int) -> None:
            nonlocal sent
            for _ in range(count):
                answer = request(port, f"/n{sent:05d}")
                assert answer.startswith(b"HTTP/1.1 404")
                sent += 1

        send(5)
        until(lambda: place.read("apache-access.log").count("/n000") == 5, "five lines")
        for pid in loggers(server):
            os.kill(pid, signal.SIGKILL)
        send(20)  # while there is no reader, and when there is one again
        slow = socket.create_connection(("127.0.0.1", port), source_address=(CLIENT, 0))
        slow.sendall(b"GET /slow HTTP/1.1\r\n")
        until(lambda: place.read("apache-access.log").count("/n000") >= 20, "a new logger")
        old = loggers(server)
        os.kill(server, signal.SIGUSR1)
        place.log("apache-access.log").rename(place.log("apache-access.log.1"))
        until(lambda: set(loggers(server)) - set(old) != set(), "the loggers of a new generation")
        send(20)
        slow.sendall(b"Host: x\r\nConnection: close\r\n\r\n")  # of the old configuration
        until(lambda: slow.recv(65536) == b"", "its answer")
        slow.close()
        until(lambda: not set(loggers(server)) & set(old), "the end of the old loggers")
        until(lambda: place.read("apache-access.log").count("/n000") >= 20, "the new log")
    log = place.read("apache-access.log.1") + place.read("apache-access.log")
    assert sorted(re.findall(r"/n(\d{5}) ", log)) == [f"{one:05d}" for one in range(sent)]
    assert log.count("/slow") == 1
    assert raw_below(place) == []


def loggers(server: int) -> list[int]:
    """Return the processes of `art32 logs pipe` that an Apache has started."""
    found = []
    for status in Path("/proc").glob("[0-9]*/status"):
        with contextlib.suppress(OSError):
            text = status.read_text()
            if f"\nPPid:\t{server}\n" in text and text.startswith("Name:\tart32-pipe"):
                found.append(int(status.parent.name))
    return found


def test_rsyslog_sends_again_what_a_killed_pipe_had_not_confirmed(place: Place) -> None:
    count = 300
    with rsyslog(place) as log_socket:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.connect(str(log_socket))
            for number in range(count):
                sender.send(f"<38>Nov 24 06:00:00 app[1]: number {number:05d} {CLAIMED}".encode())
                if number % 100 == 50:
                    until(lambda: loggers(rsyslogd(place)), "a pipe to kill")
                    for pid in loggers(rsyslogd(place)):
                        os.kill(pid, signal.SIGKILL)
        until(lambda: f"number {count - 1:05d}" in place.read("syslog.log"), "the last line")
    found = re.findall(r"number (\d{5}) 203\.0\.113\.0$", place.read("syslog.log"), re.M)
    assert sorted(set(found)) == [f"{number:05d}" for number in range(count)]
    assert len(found) <= count + 3, "a kill doubles at most one line"


def rsyslogd(place: Place) -> int:
    return int((place.directory / "rsyslog.pid").read_text())
