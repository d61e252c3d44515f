"""The first boot's script, part by part, against a real S3 server, moto and a metadata service.

The whole of it needs a machine of its own. What is shown here: that curl signs what AWS asks for,
that nothing counts that is not pinned, and that no snapshot is ever formatted.
"""

from __future__ import annotations

import hashlib
import http.server
import json
import os
import re
import shlex
import shutil
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import boto3
import pytest

from infra.user_data import SCRIPT
from tests.fixtures.s3 import PLAIN, S3Server

SYSTEM = f"{os.environ['PATH']}:/usr/sbin:/sbin"
ROLE = "art32-eu-central-1-prod-web"


class Metadata(http.server.BaseHTTPRequestHandler):
    """Answers as version 2 of the metadata service does: with a session's token or not at all."""

    credentials: ClassVar[tuple[str, str]] = ("", "")
    session: ClassVar[str] = ""
    signed: ClassVar[list[str]] = []

    def do_PUT(self) -> None:
        self._answer("the-token" if self.path == "/latest/api/token" else None)

    def do_GET(self) -> None:
        if "Authorization" in self.headers:
            self.signed.append(self.headers["Authorization"])
            return self._answer("a file\n")
        key, secret = self.credentials
        role = "/latest/meta-data/iam/security-credentials/"
        answers = {
            role: ROLE,
            role + ROLE: json.dumps(
                {"AccessKeyId": key, "SecretAccessKey": secret, "Token": self.session}
            ),
            "/latest/meta-data/instance-id": "i-0123456789abcdef0",
        }
        allowed = self.headers.get("X-aws-ec2-metadata-token") == "the-token"
        return self._answer(answers.get(self.path) if allowed else None)

    def _answer(self, text: str | None) -> None:
        self.send_response(200 if text is not None else 401)
        self.end_headers()
        self.wfile.write((text or "").encode())

    def log_message(self, *_: object) -> None:
        pass


@dataclass
class Machine:
    """A directory that plays a machine, and the settings of its first boot."""

    directory: Path
    settings: dict[str, str] = field(default_factory=dict)
    programs: dict[str, str] = field(default_factory=dict)

    def run(self, command: str) -> subprocess.CompletedProcess[str]:
        """Run a function of the script with this machine's settings."""
        tools = self.directory / "bin"
        tools.mkdir(exist_ok=True)
        for name, body in self.programs.items():
            (tools / name).write_text(f"#!/bin/bash\n{body}\n")
            (tools / name).chmod(0o755)
        lines = [f"{name}={shlex.quote(value)}" for name, value in self.settings.items()]
        script = "\n".join(["#!/bin/bash", *lines, "ART32_ONLY_DEFINE=yes", f". {SCRIPT}", command])
        path = f"{tools}:{SYSTEM}"
        return subprocess.run(
            ["bash", "-c", script],
            cwd=self.directory,
            env={"PATH": path, "HOME": str(self.directory)},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )


@pytest.fixture
def metadata() -> Iterator[str]:
    Metadata.signed.clear()
    Metadata.session = ""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Metadata) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.fixture
def machine(tmp_path: Path, metadata: str) -> Machine:
    return Machine(
        tmp_path,
        {
            "ART32_REGION": "us-east-1",
            "ART32_METADATA_URL": metadata,
            "ART32_VOLUME": "",
            "ART32_ATTACH": "",
        },
        # a refusal that stays is not worth ten attempts of a test
        {
            "curl": 'for word; do [ "$word" = 10 ] && word=0; words+=("$word"); done\n'
            'exec /usr/bin/curl "${words[@]}"'
        },
    )


ADMIN = ("admin-key", "admin-secret-of-the-tests")


@pytest.fixture
def store(seaweedfs: S3Server, machine: Machine) -> S3Server:
    Metadata.credentials = ADMIN
    machine.settings["ART32_BUCKET_URL"] = f"{seaweedfs.endpoint}/{PLAIN}"
    return seaweedfs


def put(server: S3Server, key: str, body: bytes) -> str:
    server.client().put_object(Bucket=PLAIN, Key=key, Body=body)
    return f"{hashlib.sha256(body).hexdigest()}  {key}\n"


def test_what_is_pinned_is_fetched_with_the_roles_credentials(
    machine: Machine, store: S3Server
) -> None:
    lines = put(store, "stacks/prod/web/nginx.conf", b"server {}\n")
    lines += put(store, "shared/1.0/SHA256SUMS", b"sums\n")
    (machine.directory / "RELEASE").write_text(lines)
    done = machine.run('fetch_all RELEASE ""')
    assert (done.returncode, done.stderr) == (0, "")
    assert (machine.directory / "stacks/prod/web/nginx.conf").read_bytes() == b"server {}\n"
    assert (machine.directory / "shared/1.0/SHA256SUMS").read_bytes() == b"sums\n"


def test_what_was_exchanged_in_the_bucket_stops_the_boot(machine: Machine, store: S3Server) -> None:
    line = put(store, "shared/1.0/SHA256SUMS", b"what was pinned\n")
    put(store, "shared/1.0/SHA256SUMS", b"what somebody put there\n")
    (machine.directory / "RELEASE").write_text(line)
    done = machine.run('fetch_all RELEASE ""; echo went on')
    assert done.returncode != 0
    assert "went on" not in done.stdout
    assert "FAILED" in done.stdout


def test_what_is_missing_in_the_bucket_stops_the_boot(machine: Machine, store: S3Server) -> None:
    (machine.directory / "RELEASE").write_text("0" * 64 + "  shared/none\n")
    done = machine.run('fetch_all RELEASE ""; echo went on')
    assert done.returncode != 0
    assert "went on" not in done.stdout


def test_wrong_credentials_are_refused_by_the_store(machine: Machine, store: S3Server) -> None:
    line = put(store, "shared/secret", b"x")
    key, _ = Metadata.credentials
    Metadata.credentials = (key, "wrong")
    (machine.directory / "RELEASE").write_text(line)
    assert machine.run('fetch_all RELEASE ""').returncode != 0


def test_the_parameter_is_read_and_its_lines_stay_lines(machine: Machine, moto: S3Server) -> None:
    Metadata.credentials = ADMIN
    key, secret = Metadata.credentials
    client = boto3.client(
        "ssm",
        endpoint_url=moto.endpoint,
        region_name="us-east-1",
        aws_access_key_id=key,
        aws_secret_access_key=secret,
    )
    value = "a" * 64 + "  one\n" + "b" * 64 + "  two"
    client.put_parameter(Name="/art32/prod/web/release", Type="String", Value=value, Overwrite=True)
    machine.settings["ART32_SSM_URL"] = moto.endpoint
    done = machine.run("parameter /art32/prod/web/release")
    assert (done.returncode, done.stdout) == (0, value + "\n")


def test_no_credential_is_an_argument_of_a_program(machine: Machine, store: S3Server) -> None:
    line = put(store, "shared/one", b"x")
    (machine.directory / "RELEASE").write_text(line)
    seen = machine.directory / "arguments"
    machine.programs["curl"] = f'printf "%s\\n" "$@" >>{seen}; exec /usr/bin/curl "$@"'
    assert machine.run('fetch_all RELEASE ""').returncode == 0
    text = seen.read_text()
    assert "--aws-sigv4" in text
    key, secret = Metadata.credentials
    assert [word for word in (key, secret, "the-token") if word in text] == []


def test_the_token_of_a_roles_session_is_part_of_the_signature(machine: Machine) -> None:
    # SeaweedFS knows no sessions of EC2's roles, and moto checks no signature
    Metadata.credentials = ADMIN
    Metadata.session = "the-session-token"
    machine.settings["ART32_BUCKET_URL"] = machine.settings["ART32_METADATA_URL"]
    pinned = hashlib.sha256(b"a file\n").hexdigest()
    (machine.directory / "RELEASE").write_text(f"{pinned}  one\n")
    assert machine.run('fetch_all RELEASE ""').returncode == 0
    (authorization,) = Metadata.signed
    assert "us-east-1/s3/aws4_request" in authorization
    signed = authorization.split("SignedHeaders=")[1].split(",")[0].split(";")
    assert {"host", "x-amz-content-sha256", "x-amz-date", "x-amz-security-token"} <= set(signed)


@pytest.fixture
def disk(machine: Machine) -> Path:
    """Return a file that plays a disk; mounting is noted, not done."""
    disks = machine.directory / "disks"
    disks.mkdir()
    file = disks / "nvme-Amazon_Elastic_Block_Store_vol0123456789abcdef0"
    file.write_bytes(bytes(8 << 20))
    machine.settings |= {
        "ART32_DISKS": str(disks),
        "ART32_VOLUME": "vol-0123456789abcdef0",
        "ART32_VOLUME_BLANK": "yes",
        "ART32_MOUNT": str(machine.directory / "data"),
        "ART32_FSTAB": str(machine.directory / "fstab"),
    }
    (machine.directory / "fstab").touch()
    machine.programs |= {
        "mkfs.ext4": 'echo formatted >>formatted; exec /sbin/mkfs.ext4 -F "$@"',
        "mountpoint": "exit 1",
        "mount": 'echo "mounted $1"',
    }
    return file


def test_a_blank_volume_is_formatted_once_and_mounted(machine: Machine, disk: Path) -> None:
    for _ in range(2):
        done = machine.run("mount_volume")
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == f"mounted {machine.directory}/data\n"
    assert (machine.directory / "formatted").read_text() == "formatted\n"
    assert (machine.directory / "fstab").read_text().count(str(disk)) == 1


def test_a_volume_from_a_snapshot_is_never_formatted(machine: Machine, disk: Path) -> None:
    machine.settings["ART32_VOLUME_BLANK"] = "no"
    done = machine.run("mount_volume")
    assert done.returncode == 1
    assert "not formatted" in done.stdout
    assert disk.read_bytes() == bytes(8 << 20)


def test_a_blank_volume_that_holds_a_file_system_is_not_formatted(
    machine: Machine, disk: Path
) -> None:
    subprocess.run(["/sbin/mkfs.ext4", "-q", "-F", str(disk)], check=True)
    before = disk.read_bytes()
    assert machine.run("mount_volume").returncode == 0
    assert disk.read_bytes() == before


@pytest.fixture
def etc(machine: Machine) -> Path:
    """Return a directory that plays /etc; services are not started, but noted."""
    place = machine.directory / "etc"
    for name in ("art32", "nginx/sites-enabled", "postfix"):
        (place / name).mkdir(parents=True)
    machine.settings["ART32_ROOT"] = str(machine.directory)
    machine.programs |= {"systemctl": 'echo "$@"', "nginx": 'echo "nginx $*"'}
    return place


def test_a_webserver_answers_its_health_check_before_there_is_an_application(
    machine: Machine, etc: Path
) -> None:
    (etc / "art32/nginx.conf").write_text("server {}\n")
    (etc / "nginx/sites-enabled/default").write_text("the distribution's\n")
    machine.settings["ART32_DUTY"] = "web"
    done = machine.run("configure_service")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == ["nginx -t -q", "restart nginx"]
    assert [one.name for one in (etc / "nginx/sites-enabled").iterdir()] == ["art32.conf"]


@pytest.mark.skipif(shutil.which("postconf", path=SYSTEM) is None, reason="no Postfix here")
def test_a_mail_server_takes_mail_on_the_submission_port(machine: Machine, etc: Path) -> None:
    (etc / "art32/main.cf").write_text("compatibility_level = 3.6\n")
    (etc / "art32/opendkim.conf").write_text("Mode s\n")
    (etc / "postfix/main.cf").write_text("")
    (etc / "postfix/master.cf").write_text("smtp inet n - y - - smtpd\n")
    machine.settings["ART32_DUTY"] = "mail"
    done = machine.run("configure_service")
    assert (done.returncode, done.stdout) == (0, "restart postfix\nrestart opendkim\n")
    services = (etc / "postfix/master.cf").read_text()
    assert "submission inet  n" in services
    assert "smtp " not in re.sub("smtpd", "", services)
    assert (etc / "postfix/relay").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("duty", ["keeper", "dumper"])
def test_a_machine_without_a_service_starts_none(machine: Machine, etc: Path, duty: str) -> None:
    machine.settings["ART32_DUTY"] = duty
    done = machine.run("configure_service")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_servers_that_came_with_the_restorer_s_programs_do_not_run(
    machine: Machine, etc: Path
) -> None:
    machine.settings["ART32_DUTY"] = "restorer"
    done = machine.run("configure_service")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "--quiet disable --now postgresql.service mariadb.service\n"


def deb(place: Path, name: str, version: str) -> Path:
    """Build a package of nothing."""
    tree = place / f"tree-{name}-{version}"
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "DEBIAN" / "control").write_text(
        f"Package: {name}\nVersion: {version}\nArchitecture: all\n"
        "Maintainer: Tests <tests@example.org>\nDescription: nothing\n"
    )
    file = place / f"{name}_{version}_all.deb"
    command = ["dpkg-deb", "--root-owner-group", "-Znone", "--build", str(tree), str(file)]
    subprocess.run(command, check=True, capture_output=True)
    return file


def test_a_duty_s_own_packages_are_for_it_alone_and_no_older_one_is_installed(
    machine: Machine, store: S3Server
) -> None:
    work = machine.directory / "work"
    files = {
        "": deb(machine.directory, "art32", "1.0"),
        "restorer/": deb(machine.directory, "engine", "2.0"),
        # what the image has is newer than that
        "restorer/older-": deb(machine.directory, "dpkg", "0.1"),
    }
    sums = ""
    for place, file in files.items():
        name = f"{place}{file.name}"
        put(store, f"shared/r/{name}", file.read_bytes())
        sums += f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {name}\n"
    release = put(store, "shared/r/SHA256SUMS", sums.encode())
    machine.settings |= {
        "ART32_STACK": "prod",
        "ART32_DUTY": "restorer",
        "ART32_PARAMETER": "/p",
        "ART32_WORK": str(work),
        "ART32_ROOT": str(machine.directory / "root"),
    }
    machine.programs |= {
        "apt-get": 'printf "%s\\n" "${@: -2}"',
        "systemctl": "exit 0",
        "nft": "exit 0",
        "augenrules": "exit 0",
    }

    def installed(duty: str) -> list[str]:
        machine.settings["ART32_DUTY"] = duty
        own = put(store, f"stacks/prod/{duty}/etc/file", b"x")
        given = f"parameter() {{ printf %s {shlex.quote(release + own)}; }}\ninstall_release"
        done = machine.run(given)
        assert done.returncode == 0, done.stderr
        return [one for one in done.stdout.splitlines() if one.endswith(".deb")]

    assert installed("restorer") == ["./art32_1.0_all.deb", "./restorer/engine_2.0_all.deb"]
    assert installed("web") == ["./art32_1.0_all.deb"]


def test_what_the_stack_names_is_installed_unless_it_is_there(machine: Machine, etc: Path) -> None:
    machine.programs |= {"apt-get": 'echo "apt-get $*"'}
    (etc / "art32/packages.list").write_text("dpkg\n")
    assert machine.run("install_named_packages").stdout == ""
    (etc / "art32/packages.list").write_text("dpkg\npostgresql-client-99\n")
    done = machine.run("install_named_packages")
    assert (done.returncode, done.stdout.splitlines()) == (
        0,
        ["apt-get -qq update", "apt-get -qq -y install postgresql-client-99"],
    )


@pytest.fixture
def key(tmp_path: Path) -> tuple[str, bytes]:
    """Return the fingerprint of a fresh key and its public half."""
    home = tmp_path / "gnupg"
    home.mkdir(mode=0o700)
    command = ["gpg", "--homedir", str(home), "--batch", "--quiet"]
    made = ["--passphrase", "", "--quick-generate-key", "operations", "ed25519", "sign", "never"]
    subprocess.run([*command, *made], check=True, capture_output=True)
    listed = subprocess.run(
        [*command, "--with-colons", "--list-keys"], check=True, capture_output=True, text=True
    ).stdout
    exported = subprocess.run([*command, "--armor", "--export"], check=True, capture_output=True)
    subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "all"], check=True)
    (fingerprint,) = re.findall(r"^fpr:+([0-9A-F]{40}):", listed, re.M)
    return fingerprint, exported.stdout


def expecting(machine: Machine, store: S3Server, fingerprint: str, body: bytes) -> Path:
    """Have the machine expect a key, put a body where it lies; return where it would be kept."""
    place = machine.directory / "etc/art32"
    place.mkdir(parents=True)
    (place / "public-keys.list").write_text(f"{fingerprint}\n")
    put(store, f"shared/keys/{fingerprint}.asc", body)
    machine.settings |= {
        "ART32_ROOT": str(machine.directory),
        "ART32_WORK": str(machine.directory),
    }
    return place / "public-keys" / f"{fingerprint}.asc"


def test_a_public_key_is_fetched_when_it_has_the_pinned_fingerprint(
    machine: Machine, store: S3Server, key: tuple[str, bytes]
) -> None:
    file = expecting(machine, store, *key)
    done = machine.run("fetch_public_keys")
    assert done.returncode == 0, done.stdout + done.stderr
    assert file.read_bytes() == key[1]


def test_another_key_under_the_pinned_name_stops_the_boot(
    machine: Machine, store: S3Server, key: tuple[str, bytes]
) -> None:
    file = expecting(machine, store, "0" * 40, key[1])
    done = machine.run("fetch_public_keys; echo went on")
    assert done.returncode != 0
    assert f"shared/keys/{'0' * 40}.asc holds another key" in done.stdout
    assert "went on" not in done.stdout
    assert not file.exists()


def test_a_secret_reaches_its_file_and_nothing_else(machine: Machine, moto: S3Server) -> None:
    Metadata.credentials = ADMIN
    access, secret = ADMIN
    client = boto3.client(
        "secretsmanager",
        endpoint_url=moto.endpoint,
        region_name="us-east-1",
        aws_access_key_id=access,
        aws_secret_access_key=secret,
    )
    name = f"art32-prod-mail-{machine.directory.name}"
    client.create_secret(Name=name, SecretString="[smtp.example.net]:587 user:the canary")
    (machine.directory / "etc/art32").mkdir(parents=True)
    (machine.directory / "etc/art32/secrets.list").write_text(
        f"/etc/relay root postfix.service {name}\n/etc/none root other.service {name}-empty\n"
    )
    machine.settings |= {
        "ART32_ROOT": str(machine.directory),
        "ART32_SECRETS_URL": moto.endpoint,
    }
    machine.programs["systemctl"] = 'echo "$@"'
    machine.programs["install"] = (
        'for word; do [ "$word" = root ] && word=$(id -u); words+=("$word"); done\n'
        'exec /usr/bin/install "${words[@]}"'
    )
    machine.programs["curl"] = (
        'for word; do [ "$word" = 10 ] || [ "$word" = 2 ] && word=0; words+=("$word"); done\n'
        'exec /usr/bin/curl "${words[@]}"'
    )
    done = machine.run("fetch_secrets; fetch_secrets")
    assert done.returncode == 0, done.stderr
    file = machine.directory / "etc/relay"
    assert file.read_text() == "[smtp.example.net]:587 user:the canary"
    assert file.stat().st_mode & 0o777 == 0o600
    assert not (machine.directory / "etc/none").exists()
    assert "has no value yet: /etc/none is not written" in done.stdout
    # the unit is told once: the second run found nothing new
    assert done.stdout.count("try-restart postfix.service") == 1
    assert "canary" not in done.stdout + done.stderr
    left = [one for one in machine.directory.iterdir() if one.is_file()]
    assert [one for one in left if "canary" in one.read_text(errors="replace")] == []


def test_the_agent_is_handed_its_machine(machine: Machine, store: S3Server) -> None:
    place = machine.directory / "etc/art32"
    place.mkdir(parents=True)
    for name in ("agent.toml", "public-keys.list"):
        (place / name).write_text("")
    machine.settings |= {"ART32_ROOT": str(machine.directory), "ART32_DUTY": "web"}
    machine.programs |= {"art32": 'echo "art32 ${*:3}"', "systemctl": 'echo "systemctl $*"'}
    assert machine.run("hand_over").stdout.splitlines() == [
        "art32 config check",
        "art32 host enrol",
        "art32 service apply",
        "systemctl reload-or-restart nftables",
    ]
    machine.settings["ART32_DUTY"] = "keeper"
    assert "host enrol" not in machine.run("hand_over").stdout


def test_a_configuration_that_the_agent_refuses_stops_the_boot(
    machine: Machine, store: S3Server
) -> None:
    place = machine.directory / "etc/art32"
    place.mkdir(parents=True)
    for name in ("agent.toml", "public-keys.list"):
        (place / name).write_text("")
    machine.settings |= {"ART32_ROOT": str(machine.directory), "ART32_DUTY": "web"}
    machine.programs["art32"] = 'echo "$*"; exit 78'
    done = machine.run("hand_over")
    assert done.returncode == 78
    assert "enrol" not in done.stdout
