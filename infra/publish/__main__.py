"""Publishes a release or public keys for the machines of an account.

python -m infra.publish release NAME --stack prod FILE... [--restorer DIRECTORY]
python -m infra.publish keys --stack prod FILE...

Exits with 0 when all is there, with 1 when something has to be mended first, with 2 for a wrong
command line. Uses the credentials that boto3 finds, and no other account than the stack's.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path

from agent.crypto import keys
from agent.crypto.home import isolated_home
from agent.errors import Art32Error
from infra import naming
from infra.config import ConfigError, InfraConfig, parse_file
from infra.publish import release
from infra.publish.problem import PublishError
from infra.publish.upload import Bucket, open_bucket

ROOT = Path(__file__).resolve().parent.parent.parent


def main(arguments: Sequence[str] | None = None) -> int:
    """Publish, and say what to set; return the exit status."""
    options = _options().parse_args(arguments)
    try:
        config = _config(options.stack, options.folder)
        bucket = open_bucket(
            naming.artifact_bucket(config), config.account_id, config.region, options.endpoint
        )
        if options.what == "keys":
            lines = _keys(bucket, options.files)
        else:
            lines = _release(config, bucket, options)
    except (PublishError, Art32Error) as error:
        print(f"publish: {error}", file=sys.stderr)  # noqa: T201
        return 1
    print("\n".join(lines))  # noqa: T201
    return 0


def _config(stack: str, folder: Path) -> InfraConfig:
    file = folder / f"Pulumi.{stack}.yaml"
    if not file.is_file():
        raise PublishError(f"there is no stack `{stack}`: no `{file}`", "pulumi stack init prod")
    try:
        return parse_file(file, stack)
    except ConfigError as error:
        raise PublishError(str(error)) from error


def _release(config: InfraConfig, bucket: Bucket, options: argparse.Namespace) -> list[str]:
    found = release.items(options.files, options.restorer)
    for problem in release.lacks(config, found):
        raise problem
    place = f"shared/{options.name}"
    new = sum(bucket.put(f"{place}/{one.name}", one.path.read_bytes()) for one in found)
    text = release.sums(found)
    digest = hashlib.sha256(text).hexdigest()
    bucket.put(f"{place}/{release.SUMS}", text)  # the last one: now the release is there
    return [
        f"{len(found)} files under {bucket.name}/{place}, {new} of them new",
        *(f"note: {one}" for one in release.notes(found)),
        f"pulumi config set --stack {config.stack} release {options.name}",
        f"pulumi config set --stack {config.stack} releaseSha256 {digest}",
    ]


def _keys(bucket: Bucket, files: Sequence[Path]) -> list[str]:
    """Publish public keys under their fingerprints; one that was renewed takes its own place."""
    ready = []
    for path in files:
        data = path.read_bytes()
        with isolated_home() as home:
            shown = keys.show(home, data)
        if len(shown) != 1 or shown[0].private:
            raise PublishError(
                f"`{path}` does not hold one public key", "gpg --armor --export FINGERPRINT"
            )
        ready.append((shown[0].fingerprint, data))
    for fingerprint, data in ready:
        bucket.put(f"shared/keys/{fingerprint}.asc", data, anew=True)
    return [f"{bucket.name}/shared/keys/{fingerprint}.asc" for fingerprint, _ in ready]


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m infra.publish", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    kinds = parser.add_subparsers(dest="what", required=True)
    for what, more in (("release", "packages and certificates"), ("keys", "public keys")):
        one = kinds.add_parser(what, help=more)
        if what == "release":
            one.add_argument("name", help="its name, as in 1.0.0")
            one.add_argument(
                "--restorer", type=Path, help="directory of packages for the restorer alone"
            )
        one.add_argument("files", nargs="+", type=Path, help=more)
        one.add_argument("--stack", required=True, help="a stack of the account")
        one.add_argument("--folder", type=Path, default=ROOT, help="where the stack's file is")
        one.add_argument("--endpoint", help="another S3, to try it")
    return parser


if __name__ == "__main__":
    sys.exit(main())
