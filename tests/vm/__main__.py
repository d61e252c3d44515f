"""Boots a Debian 12 in QEMU, and there installs the package and runs every unit: `make vmtest`.

The tree is made by debootstrap once and kept under build/vm; a run makes a disk of it, hands the
package and `guest.py` over with NoCloud user-data, and reads what the machine says on its serial
line. QEMU translates, which takes some twenty minutes; `VMTEST_ACCELERATOR=kvm` takes KVM, where
it works. What cannot be done is said as `units not run`, with the reason. `--container` takes
systemd-nspawn instead: faster, another kernel's word. `--first-boot` boots another machine instead,
by what a stack hands over (`first_boot.py`).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from infra import host_guard
from tests.fixtures import s3
from tests.fixtures.stacks import stack
from tests.vm import cloud, first_boot

ROOT = Path(__file__).parents[2]
PLACE = ROOT / "build" / "vm"
MIRROR = "http://deb.debian.org/debian"
PACKAGES = (
    "systemd-sysv,dbus,udev,kmod,initramfs-tools,linux-image-cloud-amd64,cloud-init,"
    "python3-cffi-backend,ca-certificates,gnupg,gpgv,zstd,python3,nftables,curl,iproute2,postgresql,"
    "nginx-light,acl,attr,sqlite3,mariadb-server"
)
ARCHITECTURE = "amd64"
SECONDS = 3600
# a machine that nobody attacks and whose instructions are translated
_FASTER = "no_timer_check mitigations=off"


class NotRun(Exception):
    """Why this machine cannot do it."""


def run(*argv: str | Path, **more: object) -> None:
    subprocess.run([str(one) for one in argv], check=True, **more)  # type: ignore[call-overload]


def require(container: bool) -> None:
    if os.geteuid() != 0:
        raise NotRun("it takes root: debootstrap, and files that belong to others")
    if platform.machine() != "x86_64":
        raise NotRun(f"the machine is made for x86_64, and this is {platform.machine()}")
    programs = {"debootstrap": "debootstrap", "mkfs.ext4": "e2fsprogs"}
    if container:
        programs["systemd-nspawn"] = "systemd-container"
    else:
        programs["qemu-system-x86_64"] = "qemu-system-x86"
    for program, package in programs.items():
        if shutil.which(program) is None:
            raise NotRun(f"`{program}` is not installed: apt-get install {package}")


def tree(packages: str = PACKAGES, name: str = "tree") -> Path:
    """Return the root file system, made when it is not there or other packages are wanted."""
    made, stamp = PLACE / name, PLACE / ("made-of" if name == "tree" else f"{name}-made-of")
    if stamp.is_file() and stamp.read_text() == packages:
        return made
    print("making the tree of the machine, once: some minutes", flush=True)
    shutil.rmtree(made, ignore_errors=True)
    PLACE.mkdir(parents=True, exist_ok=True)
    with (PLACE / "debootstrap.log").open("wb") as log:
        try:
            run(
                *("debootstrap", "--variant=minbase", f"--include={packages}", "bookworm"),
                *(made, MIRROR),
                stdout=log,
                stderr=log,
            )
        except subprocess.CalledProcessError as error:
            raise NotRun(f"debootstrap failed: {PLACE}/debootstrap.log") from error
    stamp.write_text(packages)
    return made


def packages(into: Path) -> None:
    """Put the package there, and the same one under a later number, for the upgrade."""
    built = subprocess.run(
        [ROOT / "scripts" / "package", ARCHITECTURE],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        cwd=ROOT,
    )
    file = ROOT / built.stdout.splitlines()[-1]
    shutil.copy(file, into / "art32.deb")
    with tempfile.TemporaryDirectory() as directory:
        later = Path(directory) / "later"
        run("dpkg-deb", "--raw-extract", file, later)
        control = later / "DEBIAN" / "control"
        text = control.read_text().splitlines(keepends=True)
        control.write_text(
            "".join(
                line.rstrip("\n") + "+later\n" if line.startswith("Version: ") else line
                for line in text
            )
        )
        run(
            *("dpkg-deb", "--root-owner-group", "-Zgzip", "-z1", "--build", later),
            into / "art32-next.deb",
            stdout=subprocess.DEVNULL,
        )


@contextlib.contextmanager
def mounted(lower: Path) -> Iterator[Path]:
    """Give a copy of a tree that costs nothing, for the block."""
    with tempfile.TemporaryDirectory(dir=PLACE) as directory:
        parts = [Path(directory) / name for name in ("upper", "work", "root")]
        for part in parts:
            part.mkdir()
        upper, work, root = parts
        options = f"lowerdir={lower},upperdir={upper},workdir={work}"
        run("mount", "-t", "overlay", "overlay", "-o", options, root)
        try:
            yield root
        finally:
            run("umount", root)


def hand_over(root: Path) -> None:
    """Put into the machine what it runs: the package, the steps, user-data as a cloud gives it."""
    place = root / "opt" / "vm"
    place.mkdir(parents=True)
    packages(place)
    shutil.copy(Path(__file__).parent / "guest.py", place)
    shutil.copy(Path(sys.executable).parent / "weed", place)
    (place / "identities.json").write_text(json.dumps(s3.identities()))
    (place / "nftables.conf").write_text(host_guard.nftables(stack(), "web"))
    (root / "etc" / "fstab").write_text("/dev/vda / ext4 defaults 0 1\n")
    (root / "etc" / "hostname").write_text("db1\n")
    # a login prompt hangs the console up for whoever writes there already (vhangup(2))
    (root / "etc" / "systemd" / "system" / "console-getty.service").symlink_to("/dev/null")
    seed = root / "var" / "lib" / "cloud" / "seed" / "nocloud"
    seed.mkdir(parents=True)
    (seed / "meta-data").write_text("instance-id: vmtest\nlocal-hostname: db1\n")
    (seed / "user-data").write_text(
        "#!/bin/sh\n"
        "/usr/bin/python3 /opt/vm/guest.py 2>&1 | tee /opt/vm/said >/dev/console\n"
        "systemctl poweroff --no-block\n"
    )
    (root / "etc" / "cloud" / "cloud.cfg.d" / "99-vmtest.cfg").write_text(
        "datasource_list: [NoCloud, None]\n"
    )


def machine(root: Path, *more: str, size: str = "4G") -> list[str]:
    """Return the command that boots it in QEMU."""
    disk = PLACE / "disk.img"
    disk.unlink(missing_ok=True)
    run("mkfs.ext4", "-q", "-F", "-d", root, disk, size)
    boot = root / "boot"
    (kernel,), (initrd,) = boot.glob("vmlinuz-*"), boot.glob("initrd.img-*")
    for path in (kernel, initrd):
        shutil.copy(path, PLACE / path.name.split("-")[0])
    return [
        *("qemu-system-x86_64", "-machine", "q35", "-m", "1536", "-smp", "2"),
        # no AVX: where instructions are translated it is slower than what it replaces
        *("-accel", os.environ.get("VMTEST_ACCELERATOR", "tcg"), "-cpu", "Westmere"),
        *("-nographic", "-no-reboot", "-nic", "none"),
        *("-kernel", str(PLACE / "vmlinuz"), "-initrd", str(PLACE / "initrd.img")),
        *("-append", f"root=/dev/vda rw console=ttyS0 quiet panic=-1 {_FASTER}"),
        *("-drive", f"file={disk},if=virtio,format=raw,cache=unsafe"),
        *more,
    ]


def watch(command: list[str]) -> int:
    """Show what the machine says of its steps, and return how many failed; -1 without an end."""
    failed, showing = -1, False
    with subprocess.Popen(
        ["timeout", "--kill-after=10", str(SECONDS), *command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        assert process.stdout is not None
        with (PLACE / "console.log").open("w", buffering=1) as log:
            for line in process.stdout:
                log.write(line)
                _, sign, said = line.rstrip().partition("vmtest ")
                if sign:
                    showing = said.startswith("FAILED")
                    print(said, flush=True)
                    if said.startswith("done: "):
                        failed = int(said.split()[1])
                elif showing and line.startswith("    "):
                    print(line.rstrip(), flush=True)
    return failed


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.vm")
    parser.add_argument("--container", action="store_true", help="systemd-nspawn, not QEMU")
    parser.add_argument("--first-boot", action="store_true", help="what a stack hands over")
    options = parser.parse_args()
    container: bool = options.container
    try:
        require(container)
        if options.first_boot:
            return boot_for_the_first_time(container)
        lower = tree()
    except NotRun as reason:
        print(f"units not run: {reason}")
        return 0
    with mounted(lower) as root:
        hand_over(root)
        return ended(watch(contained(root) if container else machine(root)))


def contained(root: Path) -> list[str]:
    """Return the command that boots it in systemd-nspawn."""
    options = ("--register=no", "--keep-unit", "--private-network", "--capability=all")
    console = "--console=read-only"  # the end of standard input would switch it off
    return ["systemd-nspawn", "--boot", "--directory", str(root), console, *options]


def boot_for_the_first_time(container: bool) -> int:
    """Boot a machine by a stack's user-data; raise NotRun."""
    if sys.version_info[:2] != (3, 11):
        raise NotRun("moto is copied into the machine, whose Python is 3.11")
    lower = tree(first_boot.PACKAGES, "image")
    archive = first_boot.mirror(PLACE)
    with mounted(lower) as root, tempfile.TemporaryDirectory() as scratch:
        work = Path(scratch)
        packages(work)
        built = work / "art32_0_amd64.deb"
        (work / "art32.deb").rename(built)
        first_boot.prepare(root, built, archive, work / "more", disk=not container)
        if container:
            return ended(watch(contained(root)))
        volume = PLACE / "volume.img"
        volume.unlink(missing_ok=True)
        with volume.open("wb") as file:
            file.truncate(2 << 30)
        drive = ("-drive", f"file={volume},if=none,id=data,format=raw,cache=unsafe")
        device = ("-device", f"nvme,drive=data,serial={cloud.VOLUME.replace('-', '')}")
        return ended(watch(machine(root, *drive, *device, size="6G")))


def ended(failed: int) -> int:
    """Return the exit status for the number of what failed."""
    if failed < 0:
        print(f"units not run to their end: {PLACE}/console.log")
        return 1
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
