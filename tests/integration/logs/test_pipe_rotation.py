"""What pipes write is rotated by art32 itself; docs/daemons.md has nothing that is not tried."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from pathlib import Path

from agent.config.load import load
from tests.fixtures.daemons import PAGE, ROOT, Place, block, blocks
from tests.fixtures.repository import MakeRepository
from tests.fixtures.waiting import PATIENCE, until
from tests.integration.logs.test_reopening import require_every_line_once, rotated_while


def test_a_pipe_reopens_for_rotate_and_no_line_is_lost(
    make_repository: MakeRepository, place: Place
) -> None:
    log, address = place.log("nginx-access.log"), place.path("/run/art32") / "s"
    rotate = place.moved(block("toml rotate")).replace('name = "nginx-access"', 'name = "web"')
    site = make_repository(
        "",
        more=f'[[logs.pipes]]\nname = "p"\nlisten = "unix-stream:{address}"\nto = "{log}"\n'
        f'[logs.scan]\ndirectory = "{place.directory / "scan"}"\n{rotate}',
    )
    process = f'pid_file = "{site.state / "pipe" / "pipe.pid"}"'
    text = site.config_file.read_text()
    site.config_file.write_text(re.sub(r"pid_file = .*", process, text))
    argv = [sys.executable, "-m", "agent", "--config", str(site.config_file), "logs", "pipe"]
    child = subprocess.Popen(argv, cwd=ROOT, stderr=subprocess.DEVNULL)
    try:
        until((site.state / "pipe" / "pipe.pid").exists, "the pipe runs")
        with socket.socket(socket.AF_UNIX) as sender:
            sender.connect(str(address))

            def write(first: int, last: int) -> None:
                for number in range(first, last):
                    record = f"<13>Nov 24 06:00:00 a: number={number} from 203.0.113.77\n"
                    sender.sendall(record.encode())

            rotated_while(site, log, write, 3000)
        assert b"203.0.113.77" not in require_every_line_once(site, 3000)
        child.terminate()
        assert child.wait(PATIENCE) == 0
    finally:
        child.kill()
        child.wait()


def test_every_configuration_of_the_page_is_valid_and_used_by_a_test(
    place: Place, tmp_path: Path
) -> None:
    pipes = "\n".join(blocks("toml"))
    config = load(place.configure(pipes))
    names = [pipe.name for pipe in config.logs.pipes]
    assert names == ["nginx-access", "nginx-error", "haproxy", "postfix", "postgresql"]
    fences = re.findall(r"^```(\S.*)$", PAGE.read_text(), re.M)
    tests = "".join(file.read_text() for file in Path(__file__).parent.glob("*.py"))
    tests += (ROOT / "tests/fixtures/daemons.py").read_text()
    tests = tests.replace("'", '"')
    assert [
        fence
        for fence in set(fences)
        if f'blocks("{fence}")' not in tests and f'block("{fence}")' not in tests
    ] == []
