"""The package for Debian: built, checked by lintian, installed, upgraded, removed, purged.

It goes into a copy of this machine that costs nothing: an overlay over its root, in which nothing
of systemd runs. What the units do is shown by `make vmtest`.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytestmark = [pytest.mark.exhaustive, pytest.mark.timeout(900)]
ROOT = Path(__file__).parents[2]
Shell = Callable[..., str]

# $1 upper, $2 work, $3 root, $4 directory to see at /mnt, $5 script
_INSIDE = """
set -eu
mount -t overlay overlay -o "lowerdir=/,upperdir=$1,workdir=$2" "$3"
mount -t proc proc "$3/proc"
for name in null zero urandom random; do
  [ -e "$3/dev/$name" ] || : >"$3/dev/$name"
  mount --bind "/dev/$name" "$3/dev/$name"
done
mount --bind "$4" "$3/mnt"
exec chroot "$3" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 \
  DEBIAN_FRONTEND=noninteractive sh -euc "$5"
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with the package, and the same one under a later number."""
    done = subprocess.run(
        [str(ROOT / "scripts" / "package")], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    place = tmp_path_factory.mktemp("package")
    shutil.copy(ROOT / done.stdout.splitlines()[-1], place / "art32.deb")
    later = place / "later"
    subprocess.run(["dpkg-deb", "--raw-extract", place / "art32.deb", later], check=True)
    control = later / "DEBIAN" / "control"
    lines = control.read_text().splitlines()
    control.write_text(
        "".join(f"{line}+later\n" if line[:9] == "Version: " else f"{line}\n" for line in lines)
    )
    quick = ["dpkg-deb", "--root-owner-group", "-Zgzip", "-z1", "--build", str(later)]
    subprocess.run([*quick, str(place / "later.deb")], check=True, capture_output=True)
    shutil.rmtree(later)
    return place


def contents(package: Path) -> dict[str, tuple[str, str]]:
    """Return mode and owner of everything in a package, by its path."""
    done = subprocess.run(
        ["dpkg-deb", "--contents", str(package)], capture_output=True, text=True, check=True
    )
    rows = [line.split(maxsplit=5) for line in done.stdout.splitlines()]
    return {row[5].split(" -> ")[0].removeprefix("."): (row[0], row[1]) for row in rows}


def test_lintian_finds_nothing(built: Path) -> None:
    if shutil.which("lintian") is None:
        pytest.skip("lintian is not installed: make package-test installs it as root")
    done = subprocess.run(
        ["lintian", "--allow-root", "--fail-on=error,warning", str(built / "art32.deb")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_what_belongs_on_a_host_is_in_it_and_nothing_else(built: Path) -> None:
    found = contents(built / "art32.deb")
    packages = "/opt/art32/lib/python3.11/site-packages"
    for name in ("boto3", "rollbar", "psutil", "hyperscan", "watchdog", "click", "pydantic"):
        assert f"{packages}/{name}/" in found, name
    for name in ("infra", "pulumi", "pulumi_aws", "tests", "pip", "setuptools"):
        assert f"{packages}/{name}/" not in found, name
    for unit in (ROOT / "agent" / "share" / "systemd").iterdir():
        assert f"/usr/lib/systemd/system/{unit.name}" in found
    for page in ("man1/art32.1.gz", "man1/art32-backup.1.gz", "man5/art32.toml.5.gz"):
        assert f"/usr/share/man/{page}" in found
    for file in ("bash-completion/completions/art32", "zsh/vendor-completions/_art32"):
        assert f"/usr/share/{file}" in found


def test_all_of_it_is_roots_and_only_root_may_change_it(built: Path) -> None:
    for path, (mode, owner) in contents(built / "art32.deb").items():
        assert owner == "root/root", path
        assert mode[0] == "l" or (mode[5] == mode[8] == "-" and "s" not in mode), (path, mode)


@pytest.fixture(scope="module")
def inside(built: Path) -> Iterator[Shell]:
    """Run a script in the copy of this machine; what one changes the next one sees."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a copy of this machine")
    if not Path("/usr/bin/python3.11").exists():
        pytest.skip("the package is for Debian 12, whose Python is 3.11")
    with _copy() as place:

        def run(script: str, *, status: int = 0) -> str:
            paths = [str(Path(place) / name) for name in ("upper", "work", "root")]
            done = subprocess.run(
                ["unshare", "--mount", "sh", "-c", _INSIDE, "sh", *paths, str(built), script],
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == status, done.stdout + done.stderr
            return done.stdout

        yield run


def _copy() -> tempfile.TemporaryDirectory[str]:
    """Return a directory in which an overlay over this machine's root can be mounted."""
    for base in (None, "/dev/shm", "/var/tmp"):
        place = tempfile.TemporaryDirectory(prefix="art32-package-", dir=base)
        paths = [str(Path(place.name) / name) for name in ("upper", "work", "root")]
        for path in paths:
            Path(path).mkdir()
        trial = ["unshare", "--mount", "sh", "-c", _INSIDE, "sh", *paths, place.name, "true"]
        if subprocess.run(trial, capture_output=True, check=False).returncode == 0:
            return place
        place.cleanup()
    pytest.skip("this machine mounts no overlay over its root")


def test_it_installs_and_does_so_again(inside: Shell) -> None:
    said = inside("dpkg --install /mnt/art32.deb; dpkg --install /mnt/art32.deb; art32 --version")
    assert said.splitlines()[-1].startswith("art32 ")
    assert "2770 root art32" in inside("stat --format '%a %U %G' /var/lib/art32")
    assert inside("find /etc/systemd/system -name 'art32-*'") == ""
    users = inside("getent passwd art32-pg art32-files art32-doctor art32-engine")
    assert len(users.splitlines()) == 4


def test_what_is_installed_works_for_anybody(inside: Shell) -> None:
    sample = "art32 config sample >/tmp/sample.toml; art32 --config /tmp/sample.toml config check"
    inside(f"cd /; setpriv --reuid=nobody --clear-groups sh -euc '{sample}'", status=0)
    assert "runbook" in inside("art32 runbook list; art32 --help")
    assert "unit" not in inside("dpkg --verify art32")


def test_an_upgrade_keeps_configuration_and_data(inside: Shell) -> None:
    inside(
        "printf 'host = \"db1\"\\n' >/etc/art32/agent.toml; echo kept >/var/lib/art32/ledger.jsonl;"
        "mkdir -p /var/lib/art32/scan; echo 203.0.113.7 >/var/lib/art32/scan/findings.jsonl;"
        "mkdir -p /etc/credstore; echo key >/etc/credstore/art32.signing-key;"
        "dpkg --install /mnt/later.deb"
    )
    assert inside("dpkg-query --show --showformat '${Version}' art32").endswith("+later")
    assert 'host = "db1"' in inside("cat /etc/art32/agent.toml")
    assert inside("cat /var/lib/art32/ledger.jsonl") == "kept\n"


def test_removing_keeps_everything_and_purging_what_nobody_can_replace(inside: Shell) -> None:
    inside("dpkg --remove art32; test ! -e /usr/bin/art32; test ! -e /opt/art32")
    inside("test -s /etc/art32/agent.toml; test -s /var/lib/art32/scan/findings.jsonl")
    inside("dpkg --purge art32 </dev/null")
    inside("test ! -e /etc/art32/agent.toml; test ! -e /var/lib/art32/scan")
    inside("test -s /var/lib/art32/ledger.jsonl; test -s /etc/credstore/art32.signing-key")
