"""The files that a machine gets: each is read by the very program that it is for."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from infra import host_files
from tests.fixtures.databases import PostgreSQLServer
from tests.fixtures.stacks import MAIL_SERVER, stack

PATH = f"{os.environ['PATH']}:/usr/sbin:/sbin"
SERVERS = stack(**MAIL_SERVER, dbForm="server")


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        words, capture_output=True, text=True, check=False, env={**os.environ, "PATH": PATH}
    )


def needs(program: str) -> pytest.MarkDecorator:
    found = shutil.which(program, path=PATH)
    return pytest.mark.skipif(found is None, reason=f"{program} is not installed")


@needs("nginx")
@needs("openssl")
def test_nginx_reads_its_site_and_trusts_the_load_balancer_alone(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    run(
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-subj",
        "/CN=test",
        "-keyout",
        str(key),
        "-out",
        str(certificate),
        "-days",
        "2",
    )
    site = host_files.nginx_site(SERVERS)
    assert "set_real_ip_from 10.32.0.0/18;" in site
    site = re.sub(r"(certificate) /[^;]+", rf"\1 {certificate}", site)
    site = re.sub(r"(certificate_key) /[^;]+", rf"\1 {key}", site)
    (tmp_path / "nginx.conf").write_text(
        f"pid {tmp_path}/pid;\nerror_log {tmp_path}/error;\nevents {{}}\n"
        f"http {{\naccess_log off;\n{site}}}\n"
    )
    done = run("nginx", "-t", "-q", "-p", str(tmp_path), "-c", str(tmp_path / "nginx.conf"))
    assert done.returncode == 0, done.stderr


@needs("postconf")
@pytest.mark.parametrize(
    "changes",
    [{}, {"mailRelayPort": 465}, {"mailDelivery": "direct", "mailPort25Unblocked": True}],
    ids=["587", "465", "direct"],
)
def test_postfix_reads_its_settings(tmp_path: Path, changes: dict[str, object]) -> None:
    text = host_files.postfix_main(stack(**{**MAIL_SERVER, **changes}))
    (tmp_path / "main.cf").write_text(text)
    (tmp_path / "master.cf").write_text("")
    done = run("postconf", "-c", str(tmp_path), "-n")
    assert done.returncode == 0
    assert [line for line in done.stderr.splitlines() if "unused parameter" in line] == []
    assert "mynetworks = 127.0.0.0/8 10.32.64.0/18" in done.stdout
    assert "smtpd_relay_restrictions = permit_mynetworks, reject" in done.stdout


def test_postgresql_reads_who_may_connect(postgresql: PostgreSQLServer) -> None:
    # the view reads the file as it is now; the running server keeps what it has read
    file = Path(postgresql.sql("SHOW hba_file"))
    before = file.read_text()
    try:
        file.write_text(host_files.postgresql_access(SERVERS))
        rows = postgresql.sql(
            "SELECT type, address, auth_method, coalesce(error, '') FROM pg_hba_file_rules"
        )
    finally:
        file.write_text(before)
    without = "hostssl record cannot match because SSL is disabled"  # on the tests' server
    assert rows.splitlines() == [
        "local||peer|",
        "local||peer|",
        "local||peer|",
        f"hostssl|10.32.64.0|scram-sha-256|{without}",
        f"hostssl|10.32.192.0|scram-sha-256|{without}",
    ]
