"""User-data: a cloud-config with the settings of a machine and the one script that all run.

It holds no secret, no version and nothing that changes with a release: cloud-init runs it once, and
an upgrade that waited for it would never come. What is installed stands in a parameter that
`infra.release` writes. EC2 takes 16 KiB.
"""

from __future__ import annotations

import base64
import shlex
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pulumi

from infra import naming
from infra.config.model import InfraConfig

LIMIT = 16 * 1024
SCRIPT = Path(__file__).parent / "share" / "first-boot.sh"

SETTINGS = "/var/lib/art32/settings"
PLACE = "/var/lib/art32/first-boot.sh"

_COMMON = "auditd ca-certificates gnupg nftables unattended-upgrades zstd"
PACKAGES = {
    "web": f"{_COMMON} nginx ssl-cert",
    "db": f"{_COMMON} postgresql ssl-cert",
    "mail": f"{_COMMON} opendkim postfix ssl-cert",
    "dumper": f"{_COMMON} postgresql-client postgresql-common",
    "keeper": _COMMON,
    "restorer": "",
}
"""Packages of the distribution. The isolated restorer reaches no mirror: its release brings all."""


@dataclass(frozen=True)
class DataVolume:
    """A volume that the machine mounts.

    `attach`: the machine attaches it itself, because a group starts it. `blank`: it was created
    empty, and may be formatted when it is empty still.
    """

    id: pulumi.Input[str]
    mount: str
    blank: bool
    attach: bool = False


def settings(config: InfraConfig, duty: str) -> Mapping[str, str]:
    """Return a machine's settings without its volume's."""
    artifacts = naming.artifact_bucket(config)
    return {
        "ART32_STACK": config.stack,
        "ART32_DUTY": duty,
        "ART32_REGION": config.region,
        "ART32_PARAMETER": naming.parameter(config, duty, "release"),
        "ART32_METADATA_URL": "http://169.254.169.254",
        "ART32_SSM_URL": f"https://{naming.endpoint(config, 'ssm')}",
        "ART32_SECRETS_URL": f"https://{naming.endpoint(config, 'secretsmanager')}",
        "ART32_EC2_URL": f"https://{naming.endpoint(config, 'ec2')}",
        "ART32_BUCKET_URL": f"https://{artifacts}.{naming.endpoint(config, 's3')}",
        "ART32_DISKS": "/dev/disk/by-id",
        "ART32_PACKAGES": PACKAGES[duty],
    }


def render(config: InfraConfig, duty: str, volume: DataVolume | None = None) -> pulumi.Output[str]:
    """Return a machine's user-data in base64."""
    place = volume or DataVolume("", "", blank=False)
    return pulumi.Output.from_input(place.id).apply(
        lambda found: base64.b64encode(text(config, duty, place, found).encode()).decode()
    )


def text(config: InfraConfig, duty: str, volume: DataVolume, volume_id: str) -> str:
    """Return a machine's user-data as it runs; raise ValueError when EC2 would refuse it."""
    assignments = {
        **settings(config, duty),
        "ART32_VOLUME": volume_id,
        "ART32_VOLUME_BLANK": "yes" if volume.blank else "no",
        "ART32_ATTACH": "yes" if volume.attach else "",
        "ART32_MOUNT": volume.mount,
    }
    lines = [f"{name}={shlex.quote(value)}" for name, value in assignments.items()]
    whole = _CLOUD_CONFIG.format(
        duty=duty,
        stack=config.stack,
        settings=SETTINGS,
        place=PLACE,
        assignments=_block("\n".join(lines)),
        script=_block(SCRIPT.read_text(encoding="utf-8")),
    )
    if len(whole.encode()) > LIMIT:
        raise ValueError(f"the user-data of `{duty}` has more than {LIMIT} bytes")
    return whole


def _block(text: str) -> str:
    """Return a text as the content of a block scalar (YAML 1.2, 8.1)."""
    return textwrap.indent(text.rstrip("\n"), "      ")


_CLOUD_CONFIG = """\
#cloud-config
# The first boot of {duty} in stack {stack}. The image's account with all rights is not made, and
# root's password is locked: people come by Session Manager, and what they may is IAM's to say.
users:
  - name: root
    lock_passwd: true
disable_root: true
ssh_pwauth: false
write_files:
  - path: {settings}
    permissions: "0600"
    content: |
{assignments}
  - path: {place}
    permissions: "0700"
    content: |
{script}
runcmd:
  - [{place}]
"""
