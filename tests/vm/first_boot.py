"""The first boot of a database server, whole: `python -m tests.vm --first-boot`.

A minimal Debian boots with the very user-data that a stack renders. What it finds is a cloud on the
machine itself (`cloud.py`): a metadata service, an S3 server that checks signatures, moto for the
rest, a mirror with the distribution's packages, under the names that AWS has, with certificates of
an authority that this machine trusts. What cannot be here is Systems Manager's agent.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from infra import host_files, naming, release, user_data
from infra.config.model import InfraConfig
from infra.publish import release as publishing
from tests.fixtures.stacks import RELEASE, stack
from tests.vm import cloud

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
PACKAGES = (
    "systemd-sysv,dbus,udev,kmod,initramfs-tools,linux-image-cloud-amd64,cloud-init,python3,curl,"
    "python3-cffi-backend,"
    "ca-certificates,iproute2,openssl"
)
"""About what Debian's cloud image has: the rest has to come at the first boot."""
_RECIPIENTS, _ROOTS = ("operations", "escrow"), "root"


def run(*argv: str | Path, **more: object) -> None:
    subprocess.run([str(one) for one in argv], check=True, **more)  # type: ignore[call-overload]


def mirror(place: Path) -> Path:
    """Return a directory with the packages that a first boot installs, collected once."""
    wanted = user_data.PACKAGES[cloud.DUTY].split()
    made, stamp = place / "mirror", place / "mirror-made-of"
    if not stamp.is_file() or stamp.read_text() != " ".join(wanted):
        shutil.rmtree(made, ignore_errors=True)
        run(ROOT / "scripts" / "restorer-packages", "amd64", made, *wanted, "gpg-agent", "gpgv")
        stamp.write_text(" ".join(wanted))
    return made


def prepare(root: Path, package: Path, archive: Path, work: Path, *, disk: bool) -> None:
    """Put into a machine its user-data and the cloud that it will find.

    `archive` is what the mirror has, `work` scratch; with `disk` it finds an empty volume.
    """
    work.mkdir()
    place = root / "opt" / "cloud"
    shared = place / "objects" / "shared"
    (shared / "1.0").mkdir(parents=True)
    fingerprints = _keys(work, shared / "keys")
    _authority(work)
    found = publishing.items([_trusting(package, work)])
    for one in found:
        shutil.copy(one.path, shared / "1.0" / one.name)
    sums = publishing.sums(found)
    (shared / "1.0" / publishing.SUMS).write_bytes(sums)
    config = _config(fingerprints, hashlib.sha256(sums).hexdigest())
    contents = {
        f"stacks/{config.stack}/{cloud.DUTY}/{path}": text
        for path, text in host_files.files(config, cloud.DUTY).items()
    }
    for key, text in contents.items():
        file = place / "objects" / key
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    facts = {
        "parameter": naming.parameter(config, cloud.DUTY, "release"),
        "release": release.sums(config, contents),
        "artifacts": naming.artifact_bucket(config),
        "backups": naming.bucket(config, "backups"),
        "prefix": config.stack,
        "region": config.region,
        "role": naming.role(config, cloud.DUTY),
        "mount": "/var/lib/postgresql" if disk else "",
    }
    (place / "facts.json").write_text(json.dumps(facts))
    _certify(work, facts)
    for file in (work / "server.pem", HERE / "cloud.py", HERE / "checks.py"):
        shutil.copy(file, place)
    shutil.copytree(archive, place / "mirror")
    (place / "mirror" / "Packages").write_text("".join(_index(archive)))
    shutil.copy(Path(sys.executable).parent / "weed", place / "weed")
    _moto(place / "python")
    volume = user_data.DataVolume(cloud.VOLUME if disk else "", facts["mount"], blank=True)
    _boot(root, work, facts, user_data.text(config, cloud.DUTY, volume, str(volume.id)))


def _config(fingerprints: dict[str, str], sums: str) -> InfraConfig:
    changes = {
        "releaseSha256": sums,
        "backupRecipients": [f"{name}={fingerprints[name]}" for name in _RECIPIENTS],
        "backupRoots": [fingerprints[_ROOTS]],
        "dbForm": "server",
        "architecture": "amd64",
    }
    return stack(**{**RELEASE, **changes})


def _keys(work: Path, place: Path) -> dict[str, str]:
    """Make throw-away keys, put their public halves where machines fetch them."""
    place.mkdir(parents=True)
    found = {}
    for name in (*_RECIPIENTS, _ROOTS):
        home = work / f"gnupg-{name}"
        home.mkdir(mode=0o700)
        gpg = ["gpg", "--homedir", str(home), "--batch", "--quiet", "--passphrase", ""]
        kind = ["ed25519", "sign"] if name == _ROOTS else ["future-default", "default"]
        run(*gpg, "--quick-generate-key", f"{name}, test", *kind, "1y")
        listed = subprocess.run(
            [*gpg, "--with-colons", "--list-keys"], check=True, capture_output=True, text=True
        ).stdout
        found[name] = next(one.split(":")[9] for one in listed.splitlines() if one[:3] == "fpr")
        with (place / f"{found[name]}.asc").open("wb") as file:
            run(*gpg, "--armor", "--export", stdout=file)
        run("gpgconf", "--homedir", home, "--kill", "all")
    return found


_CURVE = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30")


def _authority(work: Path) -> None:
    command = ("openssl", "req", "-x509", *_CURVE, "-subj", "/CN=Cloud of the test")
    run(*command, "-keyout", work / "ca.key", "-out", work / "ca.pem", stderr=subprocess.DEVNULL)


def _certify(work: Path, facts: dict[str, str]) -> None:
    alternatives = ",".join(f"DNS:{name}" for name in cloud.names(facts))
    run(
        *("openssl", "req", "-x509", *_CURVE, "-subj", "/CN=amazonaws.test"),
        *("-CA", work / "ca.pem", "-CAkey", work / "ca.key"),
        *("-addext", f"subjectAltName={alternatives}"),
        *("-addext", "basicConstraints=critical,CA:FALSE"),
        *("-keyout", work / "server.key", "-out", work / "server.crt"),
        stderr=subprocess.DEVNULL,
    )
    both = (work / "server.crt").read_text() + (work / "server.key").read_text()
    (work / "server.pem").write_text(both)


def _trusting(package: Path, work: Path) -> Path:
    """Return the package with our authority among those that botocore trusts."""
    tree, file = work / "package", work / package.name
    run("dpkg-deb", "--raw-extract", package, tree)
    bundles = [*tree.rglob("botocore/cacert.pem"), *tree.rglob("certifi/cacert.pem")]
    assert bundles
    for bundle in bundles:
        bundle.write_text(bundle.read_text() + (work / "ca.pem").read_text())
    run(
        *("dpkg-deb", "--root-owner-group", "-Zgzip", "-z1", "--build", tree, file),
        stdout=subprocess.DEVNULL,
    )
    return file


def _index(archive: Path) -> Iterator[str]:
    """Yield the entries of a repository's `Packages` (deb-src-control(5))."""
    for file in sorted(archive.glob("*.deb")):
        control = subprocess.run(
            ["dpkg-deb", "--field", str(file)], check=True, capture_output=True, text=True
        ).stdout
        data = file.read_bytes()
        digest = hashlib.sha256(data).hexdigest()
        yield f"{control}Filename: ./{file.name}\nSize: {len(data)}\nSHA256: {digest}\n\n"


def _moto(place: Path) -> None:
    """Copy moto's server and what it needs out of this environment."""
    wanted, known = ["moto", "flask", "flask-cors"], set()
    while wanted:
        name = wanted.pop()
        if name in known:
            continue
        known.add(name)
        try:
            found = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # for another platform
        for requirement in found.requires or []:
            if "extra ==" not in requirement:
                wanted.append(re.split(r"[^A-Za-z0-9._-]", requirement)[0].lower())
        for file in found.files or []:
            if ".." not in file.parts and file.suffix != ".pyc":
                target = place / file
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(str(file.locate()), target)


_UNITS = {
    "cloud.service": """\
[Unit]
Description=The cloud of the test
Before=cloud-final.service
[Service]
Type=exec
ExecStart=/usr/bin/python3 /opt/cloud/cloud.py
ExecStartPost=/bin/sh -c 'until [ -e /run/cloud-ready ]; do sleep 0.3; done'
TimeoutStartSec=600
[Install]
WantedBy=cloud-init.target
""",
    "checks.service": """\
[Unit]
Description=What a first boot has to show
After=cloud-final.service cloud.service
[Service]
Type=oneshot
ExecStart=/bin/sh -c '/usr/bin/python3 /opt/cloud/checks.py >/dev/console 2>&1'
ExecStopPost=/usr/bin/systemctl poweroff --no-block
TimeoutStartSec=3600
[Install]
WantedBy=cloud-init.target
""",
}


def _boot(root: Path, work: Path, facts: dict[str, str], text: str) -> None:
    etc = root / "etc"
    for name, unit in _UNITS.items():
        (etc / "systemd" / "system" / name).write_text(unit)
        wants = etc / "systemd" / "system" / "cloud-init.target.wants"
        wants.mkdir(exist_ok=True)
        (wants / name).symlink_to(f"/etc/systemd/system/{name}")
    hosts = "".join(f"127.0.0.1 {name}\n" for name in ("localhost", "db", *cloud.names(facts)))
    (etc / "hosts").write_text(hosts)
    (etc / "hostname").write_text("db\n")
    (etc / "fstab").write_text("/dev/vda / ext4 defaults 0 1\n")
    (etc / "apt" / "sources.list").write_text("deb [trusted=yes] file:/opt/cloud/mirror ./\n")
    # who reads this machine's disk after a crash? nobody
    (etc / "dpkg" / "dpkg.cfg.d" / "unsafe").write_text("force-unsafe-io\n")
    authorities = root / "usr" / "local" / "share" / "ca-certificates"
    authorities.mkdir(parents=True, exist_ok=True)
    shutil.copy(work / "ca.pem", authorities / "cloud.crt")
    run("chroot", root, "update-ca-certificates", stdout=subprocess.DEVNULL)
    seed = root / "var" / "lib" / "cloud" / "seed" / "nocloud"
    seed.mkdir(parents=True)
    (seed / "meta-data").write_text("instance-id: first-boot\nlocal-hostname: db\n")
    (seed / "user-data").write_text(text)
    settings = "datasource_list: [NoCloud, None]\nsystem_info:\n  package_mirrors: []\n"
    (etc / "cloud" / "cloud.cfg.d" / "99-vmtest.cfg").write_text(
        f"{settings}apt_preserve_sources_list: true\nlocale: false\n"
    )
