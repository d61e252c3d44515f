"""What every kind of source promises, shown with the real programs.

A kind takes part by a file in `tests/conformance/sources`.
"""

from __future__ import annotations

import importlib
import os
import signal
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest

from agent.backup.sources import CHUNK, DumpReport, RestoreRequest, plugin
from agent.config.sources import AnySource
from agent.errors import Art32Error, Code
from tests.conformance.sources.case import CANARY, Case
from tests.fixtures.own import children, descendants
from tests.fixtures.waiting import runs, until

HERE = Path(__file__).parent / "sources"
KINDS = sorted(path.stem for path in HERE.glob("*.py") if path.stem not in ("case", "__init__"))


@pytest.fixture(params=KINDS)
def case(request: pytest.FixtureRequest, tmp_path: Path) -> Case:
    entry = importlib.import_module(f"tests.conformance.sources.{request.param}")
    made: Case = entry.make(tmp_path, request)
    return made


def dumped(case: Case, config: object) -> tuple[list[bytes], list[DumpReport]]:
    plug = plugin(case.kind)
    pieces, reports = [], []
    for member in plug.members(config):
        with plug.dump(config, member) as running:
            pieces.append(b"".join(iter(running.read, b"")))
            reports.append(running.finish())
    return pieces, reports


def asked(case: Case, report: DumpReport, target: str) -> RestoreRequest:
    return RestoreRequest(target, report.facts, **case.settings)


def chunks(data: bytes) -> Iterator[bytes]:
    return (data[at : at + CHUNK] for at in range(0, len(data), CHUNK))


def require_discreet(error: Art32Error) -> None:
    shown = f"{error.sentence} {error.hint}"
    assert CANARY not in shown
    assert shown[0].islower() or shown[0] in "`0123456789"
    assert not error.sentence.endswith(".")


def test_every_kind_that_can_be_configured_is_in_this_suite() -> None:
    (union, *_) = get_args(AnySource)
    configured = {get_args(model.model_fields["kind"].annotation)[0] for model in get_args(union)}
    assert set(KINDS) == configured


def test_a_source_restores_to_the_same_content(case: Case) -> None:
    plugin(case.kind).probe(case.config)
    (data,), (report,) = dumped(case, case.config)
    request = asked(case, report, case.target)
    plugin(case.kind).check_target(request)
    sentence = plugin(case.kind).restore(chunks(data), request)
    assert case.content(case.target) == case.content(None)
    assert sentence
    assert CANARY not in sentence


def test_pieces_are_of_bounded_size(case: Case) -> None:
    with plugin(case.kind).dump(case.config, "") as running:
        sizes = [len(piece) for piece in iter(running.read, b"")]
        running.finish()
    assert max(sizes) <= CHUNK
    assert sum(sizes) > 0


def test_a_missing_source_is_an_error(case: Case) -> None:
    with pytest.raises(Art32Error) as caught:
        plugin(case.kind).probe(case.missing)
    assert caught.value.code is Code.SOURCE_MISSING
    assert caught.value.hint
    require_discreet(caught.value)
    with pytest.raises(Art32Error) as caught:
        dumped(case, case.missing)
    assert caught.value.code in (Code.SOURCE_MISSING, Code.SOURCE_FAILED)
    require_discreet(caught.value)


def test_a_dump_that_dies_after_most_of_its_bytes_is_an_error(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    if case.dies is None:
        pytest.skip("no child process is involved")
    config = case.dies(monkeypatch)
    with plugin(case.kind).dump(config, "") as running:
        size = sum(len(piece) for piece in iter(running.read, b""))
        with pytest.raises(Art32Error) as caught:
            running.finish()
    assert size > 0
    assert caught.value.code is Code.SOURCE_FAILED
    require_discreet(caught.value)


def test_a_dump_without_its_proper_end_is_an_error(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    if case.cut is None:
        pytest.skip("the format has no end of its own, or no child process is involved")
    config = case.cut(monkeypatch)
    with plugin(case.kind).dump(config, "") as running:
        size = sum(len(piece) for piece in iter(running.read, b""))
        with pytest.raises(Art32Error) as caught:
            running.finish()
    assert size > 0
    assert caught.value.code is Code.SOURCE_INCOMPLETE
    require_discreet(caught.value)


def test_leaving_a_dump_early_leaves_no_process_and_no_file(case: Case) -> None:
    processes, traces = set(children()), case.traces()
    with plugin(case.kind).dump(case.config, "") as running:
        assert running.read()
    assert set(children()) <= processes
    assert case.traces() == traces


def test_an_exception_within_a_dump_leaves_no_process_and_no_file(case: Case) -> None:
    processes, traces = set(children()), case.traces()

    def interrupted() -> None:
        with plugin(case.kind).dump(case.config, "") as running:
            running.read()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert set(children()) <= processes
    assert case.traces() == traces


def test_a_finished_dump_leaves_nothing(case: Case) -> None:
    processes, traces = set(children()), case.traces()
    dumped(case, case.config)
    assert set(children()) <= processes
    assert case.traces() == traces


@pytest.mark.parametrize("share", [0, 0.5, 1])
def test_a_stream_that_fails_leaves_nothing_at_the_target(case: Case, share: float) -> None:
    (data,), (report,) = dumped(case, case.config)
    processes, traces = set(children()), case.traces()

    def stream() -> Iterator[bytes]:
        yield from chunks(data[: int(len(data) * share)])
        raise Art32Error(Code.CORRUPT, "a segment does not verify")

    with pytest.raises(Art32Error) as caught:
        plugin(case.kind).restore(stream(), asked(case, report, case.target))
    assert caught.value.code is Code.CORRUPT
    assert set(children()) <= processes
    assert case.traces() == traces


def test_an_interrupted_restore_leaves_nothing_at_the_target(case: Case) -> None:
    (data,), (report,) = dumped(case, case.config)
    processes, traces = set(children()), case.traces()

    def stream() -> Iterator[bytes]:
        yield data[: len(data) // 2]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        plugin(case.kind).restore(stream(), asked(case, report, case.target))
    assert set(children()) <= processes
    assert case.traces() == traces


def killed_in_the_middle(kind: str, data: bytes, request: RestoreRequest) -> None:
    """Restore in a process that dies, without a word, when half of the stream has gone by; return
    when its programs have ended too, each a moment after the one that had started it."""

    def stream() -> Iterator[bytes]:
        yield data[: len(data) // 2]
        os.kill(os.getpid(), signal.SIGSTOP)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # threads: this child starts its own
        child = os.fork()
    if child == 0:
        try:
            plugin(kind).restore(stream(), request)
        finally:
            os._exit(1)
    assert os.WIFSTOPPED(os.waitpid(child, os.WUNTRACED)[1])
    programs = descendants(child)
    os.kill(child, signal.SIGKILL)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    until(lambda: not any(map(runs, programs)), "the end of its programs")


def test_what_a_killed_restore_left_is_found_and_discarded(case: Case) -> None:
    (data,), (report,) = dumped(case, case.config)
    plug, traces = plugin(case.kind), case.traces()
    request, other = (asked(case, report, case.target) for _ in range(2))
    assert plug.left(request) is None
    plug.discard(request)
    killed_in_the_middle(case.kind, data, request)
    left = plug.left(request)
    assert left is not None
    assert CANARY not in left
    assert case.traces() > traces
    there = case.traces()
    assert plug.left(other) is None
    plug.discard(other)
    assert case.traces() == there
    plug.discard(request)
    assert plug.left(request) is None
    assert case.traces() == traces
    plug.restore(chunks(data), other)
    plug.discard(request)
    plug.discard(other)
    assert case.content(case.target) == case.content(None)


def test_an_existing_target_is_refused_before_any_data(case: Case) -> None:
    (data,), (report,) = dumped(case, case.config)
    before = case.content(case.existing) if os.path.exists(case.existing) else None
    traces = case.traces()
    request = asked(case, report, case.existing)
    with pytest.raises(Art32Error) as caught:
        plugin(case.kind).check_target(request)
    assert caught.value.code is Code.TARGET_EXISTS
    assert caught.value.hint
    with pytest.raises(Art32Error) as caught:
        plugin(case.kind).restore(chunks(data), request)
    assert caught.value.code is Code.TARGET_EXISTS
    assert case.traces() == traces
    if before is not None:
        assert case.content(case.existing) == before
