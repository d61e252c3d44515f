"""A release and public keys reach the artifact bucket, and machines find them there."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped]

from infra import naming
from infra.publish.__main__ import main
from tests.fixtures.keys import Keys
from tests.fixtures.s3 import S3Server
from tests.fixtures.stacks import MINIMUM, stack

CONFIG = stack()
BUCKET = naming.artifact_bucket(CONFIG)


def package(place: Path, name: str, version: str = "1.0", architecture: str = "arm64") -> Path:
    """Build a package of nothing under a file name that does not matter."""
    tree = place / f"{name}-{version}-{architecture}"
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "DEBIAN" / "control").write_text(
        f"Package: {name}\nVersion: {version}\nArchitecture: {architecture}\n"
        "Maintainer: Tests <tests@example.org>\nDescription: nothing\n"
    )
    file = place / f"{len(list(place.iterdir()))}.deb"
    subprocess.run(
        ["dpkg-deb", "--root-owner-group", "-Znone", "--build", str(tree), str(file)],
        check=True,
        capture_output=True,
    )
    return file


@pytest.fixture
def certificates(tmp_path: Path) -> Path:
    file = tmp_path / "eu-central-1-bundle.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-nodes", "-days", "2"]
    command += ["-pkeyopt", "ec_paramgen_curve:P-256", "-subj", "/CN=An authority"]
    subprocess.run(
        [*command, "-keyout", str(tmp_path / "key"), "-out", str(file)],
        check=True,
        capture_output=True,
    )
    return file


@pytest.fixture
def folder(tmp_path: Path, seaweedfs: S3Server, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder with the stack's file; the caller's credentials are the admin's."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "admin-key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "admin-secret-of-the-tests")
    client = seaweedfs.client()
    if BUCKET not in {one["Name"] for one in client.list_buckets()["Buckets"]}:
        client.create_bucket(Bucket=BUCKET)
    place = tmp_path / "folder"
    place.mkdir()
    settings = {f"art32:{key}": value for key, value in MINIMUM.items()}
    (place / "Pulumi.prod.yaml").write_text(yaml.safe_dump({"config": settings}))
    return place


def publish(
    folder: Path, server: S3Server, capsys: pytest.CaptureFixture[str], *words: object
) -> tuple[int, str, str]:
    """Run the command; return its status, what it said, and what it complained of."""
    kind, *more = map(str, words)
    status = main(
        [kind, *more, "--stack", "prod", "--folder", str(folder), "--endpoint", server.endpoint]
    )
    out, err = capsys.readouterr()
    return status, out, err


def stored(server: S3Server, key: str) -> bytes:
    data: bytes = server.client().get_object(Bucket=BUCKET, Key=key)["Body"].read()
    return data


def test_a_release_is_published_whole_and_says_what_to_set(
    folder: Path,
    seaweedfs: S3Server,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    certificates: Path,
) -> None:
    inner = tmp_path / "restorer"
    inner.mkdir()
    package(inner, "postgresql-15", "15.8-0+deb12u1")
    files = [package(tmp_path, "art32", "1.2.3+next"), package(tmp_path, "amazon-ssm-agent", "3.3")]
    words = ("release", "1.2.3", *files, certificates, "--restorer", inner)
    status, out, err = publish(folder, seaweedfs, capsys, *words)
    assert (status, err) == (0, "")
    sums = stored(seaweedfs, "shared/1.2.3/SHA256SUMS")
    assert f"releaseSha256 {hashlib.sha256(sums).hexdigest()}" in out
    assert "release 1.2.3\n" in out
    names = [line.split("  ")[1] for line in sums.decode().splitlines()]
    # a plus in a path is signed by curl in another way than S3 expects it
    assert names == [
        "amazon-ssm-agent_3.3_arm64.deb",
        "art32_1.2.3-next_arm64.deb",
        "rds-ca.pem",
        "restorer/postgresql-15_15.8-0-deb12u1_arm64.deb",
    ]
    for line in sums.decode().splitlines():
        digest, name = line.split("  ")
        body = stored(seaweedfs, f"shared/1.2.3/{name}")
        assert hashlib.sha256(body).hexdigest() == digest
    # and once more: the same release is the same release
    assert publish(folder, seaweedfs, capsys, *words)[:2] == (0, out.replace("4 of", "0 of"))


def test_a_release_never_changes(
    folder: Path,
    seaweedfs: S3Server,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    certificates: Path,
) -> None:
    files = [package(tmp_path, "art32"), package(tmp_path, "amazon-ssm-agent")]
    assert publish(folder, seaweedfs, capsys, "release", "2", *files, certificates)[0] == 0
    before = stored(seaweedfs, "shared/2/SHA256SUMS")
    files.append(package(tmp_path, "more"))
    status, _, err = publish(folder, seaweedfs, capsys, "release", "2", *files, certificates)
    assert status == 1
    assert "`shared/2/SHA256SUMS` is there already, with another content" in err
    assert stored(seaweedfs, "shared/2/SHA256SUMS") == before


@pytest.mark.parametrize(
    ("left_out", "expected"),
    [("art32", "no `art32` for `arm64`"), ("amazon-ssm-agent", "no `amazon-ssm-agent` for")],
)
def test_a_release_without_which_machines_could_not_do_is_not_published(
    folder: Path,
    seaweedfs: S3Server,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    certificates: Path,
    left_out: str,
    expected: str,
) -> None:
    files = [
        package(tmp_path, name, architecture="amd64" if name == left_out else "arm64")
        for name in ("art32", "amazon-ssm-agent")
    ]
    status, _, err = publish(folder, seaweedfs, capsys, "release", "3", *files, certificates)
    assert (status, expected in err) == (1, True)
    status, _, err = publish(
        folder, seaweedfs, capsys, "release", "3", *files, package(tmp_path, left_out)
    )
    assert (status, "no certificates of RDS" in err) == (1, True)
    assert "eu-central-1-bundle.pem" in err


def test_what_is_no_package_and_no_certificate_is_named(
    folder: Path, seaweedfs: S3Server, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for name, expected in (("x.deb", "is no package"), ("x.pem", "holds no certificates")):
        (tmp_path / name).write_text("nothing of the kind\n")
        status, out, err = publish(folder, seaweedfs, capsys, "release", "4", tmp_path / name)
        assert (status, out) == (1, "")
        assert expected in err
    assert publish(folder, seaweedfs, capsys, "release", "4", tmp_path / "none.deb")[0] == 1


def test_credentials_that_may_not_are_one_clear_error(
    folder: Path,
    seaweedfs: S3Server,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    certificates: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "the-canary")
    files = [package(tmp_path, "art32"), package(tmp_path, "amazon-ssm-agent")]
    status, _, err = publish(folder, seaweedfs, capsys, "release", "5", *files, certificates)
    assert status == 1
    assert "S3 refuses" in err
    assert "123456789012" in err
    assert "canary" not in err


def test_a_public_key_lies_under_its_fingerprint_and_a_private_one_is_refused(
    folder: Path, seaweedfs: S3Server, capsys: pytest.CaptureFixture[str], keys: Keys
) -> None:
    file = keys.operations.public_file
    for _ in range(2):  # a renewed key takes the place of the one before
        assert publish(folder, seaweedfs, capsys, "keys", file)[0] == 0
    key = f"shared/keys/{keys.operations.fingerprint}.asc"
    assert stored(seaweedfs, key) == file.read_bytes()
    status, _, err = publish(folder, seaweedfs, capsys, "keys", keys.host.secret_file)
    assert (status, "does not hold one public key" in err) == (1, True)


def test_another_stack_is_told_by_its_file(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status = main(["keys", "x.asc", "--stack", "none", "--folder", str(folder)])
    assert (status, "no stack `none`" in capsys.readouterr().err) == (1, True)
