"""The door to processes: nothing leaks in, all is bounded, and nothing outlives its block."""

from __future__ import annotations

import fcntl
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from agent import run
from agent.errors import Art32Error, Code
from agent.run import Process
from tests.fixtures.waiting import runs, until


def test_a_child_sees_a_small_environment_and_our_locale(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPASSWORD", "sesame")
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    done = run.run(["env"], extra_environment={"EXTRA": "1"})
    seen = dict(line.split("=", 1) for line in done.stdout.decode().splitlines())
    assert seen["LC_ALL"] == "C.UTF-8"
    assert seen["EXTRA"] == "1"
    assert "PGPASSWORD" not in seen
    assert set(seen) <= {*run._PASSED_ON, "LC_ALL", "EXTRA"}


def test_a_short_command_leaves_its_status_and_its_words() -> None:
    done = run.run(["sh", "-c", "cat; echo no >&2; exit 3"], stdin=b"yes")
    assert (done.returncode, done.stdout, done.stderr) == (3, b"yes", b"no\n")


def test_a_program_that_is_not_there_is_an_error_with_its_name() -> None:
    for use in (lambda: run.run(["/nowhere/art32"]), lambda: Process(["/nowhere/art32"])):
        with pytest.raises(Art32Error, match="/nowhere/art32") as caught:
            use()
        assert caught.value.code is Code.TOOL_MISSING
    with pytest.raises(Art32Error) as caught:
        run.find("art32-nowhere", package="art32-nowhere")
    assert caught.value.hint == "apt-get install art32-nowhere"


def test_a_command_that_hangs_is_ended() -> None:
    with pytest.raises(Art32Error) as caught:
        run.run(["sleep", "60"], timeout=0.1)
    assert caught.value.code is Code.TOOL_FAILED


def test_leaving_the_block_ends_the_child_and_its_children() -> None:
    with Process(["sh", "-c", "sleep 60 & echo $!; wait"]) as child:
        grandchild = int(child.stdout.readline())
        pids = [child.pid, grandchild]
    until(lambda: not any(map(runs, pids)), "the end of both")


def test_very_much_standard_error_is_bounded_and_does_not_block() -> None:
    seen = []
    script = "yes error | head -c 3000000 >&2; echo done"
    with Process(["sh", "-c", script], on_stderr=lambda piece: seen.append(len(piece))) as child:
        assert child.stdout.read() == b"done\n"
        assert child.wait() == 0
        assert len(child.stderr) <= 2 * run.STDERR_BYTES + 8192
    assert sum(seen) == 3_000_000


def test_no_descriptor_of_ours_reaches_a_child(tmp_path: Path) -> None:
    with (tmp_path / "secret").open("wb") as handle:
        os.set_inheritable(handle.fileno(), True)
        done = run.run(["sh", "-c", "ls -l /proc/self/fd"])
    assert b"secret" not in done.stdout


def test_killing_twice_is_harmless() -> None:
    with Process(["sleep", "60"]) as child:
        child.kill()
        child.kill()
        assert child.wait() == -9


@pytest.mark.parametrize("with_children", [False, True])
def test_a_silent_child_does_not_outlive_a_process_that_is_killed(with_children: bool) -> None:
    """It writes nothing and reads nothing: no pipe tells it that we are dead."""
    script = "sleep 300 & echo $! $$; wait" if with_children else "echo $$; exec sleep 300"
    program = (
        "import sys, time\n"
        "from agent.run import Process\n"
        f"with Process(['sh', '-c', {script!r}], with_children={with_children}) as child:\n"
        "    print(child.stdout.readline().decode(), child.pid, flush=True)\n"
        "    time.sleep(300)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    pids = [
        int(word)
        for line in (parent.stdout.readline(), parent.stdout.readline())
        for word in line.split()
    ]
    assert all(map(runs, pids))
    parent.kill()
    parent.wait()
    parent.stdout.close()
    until(lambda: not any(map(runs, pids)), "the end of all")


def test_what_can_be_read_is_found_among_more_descriptors_than_select_knows() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 1100:
        pytest.skip(f"a process may open no more than {hard} files here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 1100), hard))
    low, writer = os.pipe()
    high = fcntl.fcntl(low, fcntl.F_DUPFD_CLOEXEC, 1050)
    try:
        assert run.readable([high], 0) == []
        os.write(writer, b"x")
        assert run.readable([high], 1) == [high]
        os.close(writer)
        os.read(high, 1)
        assert run.readable([high], 1) == [high], "the end of it counts"
    finally:
        os.close(high)
        os.close(low)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_the_status_of_a_child_with_children_is_its_own() -> None:
    for script, status in (("exit 7", 7), ("kill -KILL $$", -9), ("kill -TERM $$", -15)):
        with Process(["sh", "-c", script], with_children=True) as child:
            assert child.wait() == status


def test_a_program_that_the_kernel_cannot_run_is_an_error(tmp_path: Path) -> None:
    script = tmp_path / "script"
    script.write_text("echo no first line\n")
    for mode, code in ((0o755, Code.TOOL_FAILED), (0o644, Code.PERMISSION)):
        script.chmod(mode)
        with pytest.raises(Art32Error) as caught:
            Process([str(script)])
        assert caught.value.code is code
