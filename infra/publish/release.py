"""A release: which files it has, under which names, and the list of sums that pins them.

`art32_VERSION_ARCHITECTURE.deb`, the SSM agent's package and `rds-ca.pem` are for all machines that
want them; what lies below `<duty>/` is for the machines of that duty alone.
"""

from __future__ import annotations

import hashlib
import re
import ssl
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from agent import run
from infra.config.model import InfraConfig
from infra.publish.problem import PublishError

SUMS = "SHA256SUMS"
CERTIFICATES = "rds-ca.pem"
_SAFE = re.compile(r"[A-Za-z0-9._~-]+")
SSM_AGENT = "amazon-ssm-agent"
_WHERE = {
    "art32": "build it: make package ARCHITECTURE={architecture}",
    SSM_AGENT: "https://s3.{region}.amazonaws.com/amazon-ssm-{region}/latest/debian_{architecture}/"
    "amazon-ssm-agent.deb, beside it `.sig`, its signature; Debian's images lack it, and without "
    "it nobody reaches a machine",
}


@dataclass(frozen=True)
class Item:
    """One file: its name below `shared/<release>/`, where it is, its SHA-256."""

    name: str
    path: Path
    sha256: str


def items(files: Sequence[Path], for_restorer: Path | None = None) -> list[Item]:
    """Return the files of a release, sorted by name; raise PublishError for what is no package and
    no certificates, and for a name that stands twice.

    Packages are named by what they say of themselves. Curl signs a path as it is, and S3 as it
    would be escaped, so other characters than letters, digits and `._~-` become hyphens.
    """
    found = [_item(path, "") for path in files]
    if for_restorer is not None:
        inner = sorted(for_restorer.glob("*.deb"))
        if not inner:
            raise PublishError(
                f"there is no package in `{for_restorer}`",
                "scripts/restorer-packages puts some there",
            )
        found += [_item(path, "restorer/") for path in inner]
    names = [one.name for one in found]
    if doubled := sorted({name for name in names if names.count(name) > 1}):
        raise PublishError(f"`{doubled[0]}` is given twice")
    return sorted(found, key=lambda one: one.name)


def _item(path: Path, directory: str) -> Item:
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        reason = (error.strerror or "error").lower()
        raise PublishError(f"`{path}` cannot be read: {reason}") from error
    if path.suffix == ".pem":
        _check_certificates(path)
        return Item(CERTIFICATES, path, digest)
    fields = run.run(
        [
            *(run.find("dpkg-deb", package="dpkg"), "--show"),
            *("--showformat", "${Package}\n${Version}\n${Architecture}", str(path)),
        ]
    )
    parts = fields.stdout.decode("utf-8", "replace").split("\n")
    if fields.returncode != 0 or len(parts) != 3 or not all(parts):
        raise PublishError(f"`{path}` is no package of Debian's", "give .deb files, and the .pem")
    package, version, architecture = (re.sub(r"[^A-Za-z0-9._~-]", "-", one) for one in parts)
    return Item(f"{directory}{package}_{version}_{architecture}.deb", path, digest)


def _check_certificates(path: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(path)
    except (ssl.SSLError, OSError) as error:
        raise PublishError(
            f"`{path}` holds no certificates",
            "https://truststore.pki.rds.amazonaws.com/REGION/REGION-bundle.pem",
        ) from error
    if not context.get_ca_certs():
        raise PublishError(f"`{path}` holds no certificate of an authority")


def sums(found: Iterable[Item]) -> bytes:
    """Return the list as `sha256sum` writes it."""
    return "".join(f"{one.sha256}  {one.name}\n" for one in found).encode()


def lacks(config: InfraConfig, found: Sequence[Item]) -> Iterator[PublishError]:
    """Yield what the machines of a stack could not do without."""
    names = [one.name for one in found]
    ends = (f"_{config.architecture}.deb", "_all.deb")
    for package, where in _WHERE.items():
        if not any(name.startswith(f"{package}_") and name.endswith(ends) for name in names):
            yield PublishError(
                f"the release has no `{package}` for `{config.architecture}`",
                where.format(region=config.region, architecture=config.architecture),
            )
    if config.db.form == "rds" and CERTIFICATES not in names:
        yield PublishError(
            "the release has no certificates of RDS: the dumper could not verify the database",
            f"https://truststore.pki.rds.{config.dns_suffix}/{config.region}/"
            f"{config.region}-bundle.pem",
        )


def notes(found: Sequence[Item]) -> Iterator[str]:
    """Yield what somebody may want to know who publishes it."""
    if not any(one.name.startswith("restorer/") for one in found):
        yield "no packages for the restorer: it has no engines to drill with (--restorer DIRECTORY)"
