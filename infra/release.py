"""What the machines install, pinned: files of the stack and the release of the packages."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import pulumi
import pulumi_aws.s3 as s3
import pulumi_aws.ssm as ssm

from infra import host_files, naming
from infra.component import Component
from infra.config.model import InfraConfig

AGENT_FILE = "etc/art32/agent.toml"


@dataclass(frozen=True)
class ReleaseArgs:
    """The configuration, and the managed database's address for the machine that dumps it."""

    config: InfraConfig
    database_address: pulumi.Input[str] | None = None


class Release(Component[InfraConfig]):
    """One parameter a duty with the SHA-256 of everything that a machine of it may install.

    Protects against: a package or a setting that was exchanged in the bucket, and user-data that
    must change for an upgrade. `ready` is what groups and instances wait for: a machine that boots
    before its files exist would fail.
    """

    area = "release"

    def __init__(
        self, name: str, args: ReleaseArgs, options: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__(name, args.config, options)
        config = self.config
        self.ready: dict[str, list[pulumi.Resource]] = {}
        for duty in config.duties:
            place = f"stacks/{config.stack}/{duty}"
            contents: dict[str, pulumi.Input[str]] = {
                f"{place}/{path}": text for path, text in host_files.files(config, duty).items()
            }
            if duty == "dumper" and args.database_address is not None:
                contents |= _addressed(config, duty, place, contents, args.database_address)
            objects = [
                s3.BucketObjectv2(
                    key.removeprefix(f"stacks/{config.stack}/").replace("/", "-"),
                    bucket=naming.artifact_bucket(config),
                    key=key,
                    content=text,
                    content_type="text/plain",
                    opts=self.child(),
                )
                for key, text in contents.items()
            ]
            parameter = ssm.Parameter(
                f"{duty}-release",
                name=naming.parameter(config, duty, "release"),
                type="String",
                value=pulumi.Output.all(**contents).apply(lambda found: sums(config, found)),
                description="SHA-256 and name of what a machine installs at its first boot",
                tags=self.tags(f"{duty}-release"),
                opts=self.child(depends_on=objects),
            )
            self.ready[duty] = [parameter]
        self.register_outputs({})


def _addressed(
    config: InfraConfig,
    duty: str,
    place: str,
    contents: Mapping[str, pulumi.Input[str]],
    address: pulumi.Input[str],
) -> dict[str, pulumi.Input[str]]:
    """Return the agent's configuration with the address that only the database's creation tells."""
    key = f"{place}/{AGENT_FILE}"
    if key not in contents:
        return {}
    return {
        key: pulumi.Output.from_input(address).apply(
            lambda found: host_files.files(config, duty, found)[AGENT_FILE]
        )
    }


def sums(config: InfraConfig, contents: Mapping[str, str]) -> str:
    """Return lines as `sha256sum` writes them, of the packages' own list and of each file."""
    lines = [
        f"{hashlib.sha256(text.encode()).hexdigest()}  {key}" for key, text in contents.items()
    ]
    if config.release_sha256 is not None:
        lines.append(f"{config.release_sha256}  shared/{config.release}/SHA256SUMS")
    return "\n".join(lines)
