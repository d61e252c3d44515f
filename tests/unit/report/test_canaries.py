"""Canaries: planted wherever an error report could pick them up. Nothing of them leaves."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import Any

import pytest

from agent import report
from agent.config.model import Configuration
from agent.errors import Art32Error, Code, from_defect
from agent.report import item
from agent.report.drain import drain, token
from agent.report.text import Masker
from agent.report.wire import Wire
from tests.fixtures.own import rename_machine
from tests.fixtures.rollbar import TOKEN, Rollbar

HOME = "/home"
CANARIES = {
    "name": "Kanarienvogel",
    "email": "kanarienvogel@example.org",
    "address": "203.0.113.77",
    "address6": "2001:db8:77::77",
    "secret": "kan4r13nv0g3l-s3cr3t-t0k3n",
    "path": f"{HOME}/kanarienvogel/kunden.csv",
    "url": "https://example.org/reset?token=kan4r13nv0g3l&user=kanarienvogel",
    "number": "491770011223344",
}
TELLING = (
    *("kanarienvogel", "203.0.113", "2001:db8", "kan4r13n", "kunden", "example.org"),
    "7700112233",  # as long as this no hash holds it by chance
)


@pytest.fixture
def masker(reporting: Configuration) -> Masker:
    return report.open_masker(reporting, report.open_queue(reporting))


@pytest.fixture(autouse=True)
def planted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Canaries in the environment, the arguments and the host's name."""
    for name, canary in CANARIES.items():
        monkeypatch.setenv(f"CANARY_{name.upper()}", canary)
    monkeypatch.setenv("HTTP_PROXY", "http://kanarienvogel:kan4r13nv0g3l@127.0.0.1:9")
    monkeypatch.setenv("HTTPS_PROXY", "http://kanarienvogel:kan4r13nv0g3l@127.0.0.1:9")
    monkeypatch.setattr(sys, "argv", ["art32", *CANARIES.values()])
    monkeypatch.setattr("socket.gethostname", lambda: "kanarienvogel-laptop")


def raised() -> Exception:
    """Return an exception with a chain, each link and each frame full of canaries."""
    canaries = dict(CANARIES)  # a local variable of a frame of the trace

    class Kanarienvogel(Exception):
        pass

    def inner(kanarienvogel: str) -> None:
        error = Kanarienvogel(*canaries.values())
        error.add_note(kanarienvogel)
        raise error

    try:
        try:
            inner(canaries["secret"])
        except Kanarienvogel as error:
            raise OSError(5, "Input/output error", canaries["path"]) from error
    except OSError as error:
        try:
            raise ValueError(json.dumps(canaries)) from error
        except ValueError as last:
            return last
    raise AssertionError("something was raised")


def send(config: Configuration, masker: Masker) -> None:
    done = drain(config, report.open_queue(config), masker, force=True)
    assert (done.left, done.discarded) == (0, 0)


def assert_nothing_left(server: Rollbar, config: Configuration, items: int) -> None:
    assert len(server.items) == items
    on_disk = "".join(
        path.read_text()
        for path in (config.state_directory / "report").rglob("*")
        if path.is_file()
    )
    for text in (server.everything(), on_disk):
        assert [one for one in TELLING if one in text.lower()] == []


def test_of_an_exception_classes_and_places_leave(
    reporting: Configuration, rollbar_server: Rollbar, masker: Masker
) -> None:
    error = raised()
    assert report.failure(reporting, from_defect(error), verb="backup run", cause=error)
    send(reporting, masker)
    (sent,) = rollbar_server.items
    chain = sent["body"]["trace_chain"]
    assert [one["exception"] for one in chain][:2] == [
        {"class": "ValueError"},
        {"class": "OSError"},
    ]
    assert {frame["filename"] for one in chain for frame in one["frames"]} == {"elsewhere"}
    assert sent["title"] == "defect: ValueError in elsewhere"
    assert_nothing_left(rollbar_server, reporting, 1)


def test_of_an_error_the_words_that_art32_knows_leave(
    reporting: Configuration, rollbar_server: Rollbar, masker: Masker
) -> None:
    for canary in CANARIES.values():
        sentence = f'`pg_dump` failed: {canary} for user "{canary}" at `{canary}`, x={canary}'
        error = Art32Error(Code.SOURCE_FAILED, sentence, hint=canary)
        assert report.failure(reporting, error, verb="backup run", about="app")
        assert report.check(reporting, f"certificate:{canary}", "fail", sentence)
    send(reporting, masker)
    assert rollbar_server.items[0]["body"]["message"]["code"] == "source-failed"
    assert "`pg_dump` failed: " in rollbar_server.items[0]["body"]["message"]["body"]
    assert_nothing_left(rollbar_server, reporting, 2 * len(CANARIES))


def test_fields_that_are_not_on_the_list_do_not_exist(masker: Masker) -> None:
    good = {
        "environment": "production",
        "level": "error",
        "timestamp": 1,
        "uuid": "0" * 32,
        "fingerprint": "1" * 40,
        "server": {"host": "db1"},
        "body": {"message": {"body": "the store does not answer", "kind": "error"}},
    }
    clean = item.rebuilt(good, masker)
    stuffed: dict[str, Any] = json.loads(json.dumps(good))
    for place in (stuffed, stuffed["server"], stuffed["body"], stuffed["body"]["message"]):
        place.update({"custom": CANARIES, "person": CANARIES, "request": {"headers": CANARIES}})
        place.update({f"x{number}": one for number, one in enumerate(CANARIES.values())})
    stuffed["server"] |= {"argv": list(CANARIES.values()), "root": CANARIES["path"]}
    stuffed["body"]["message"] |= {
        "code": CANARIES["name"],
        "verb": CANARIES["email"],
        "place": CANARIES["path"],
        "runbook": CANARIES["url"],
        "measure": CANARIES["secret"],
        "since": CANARIES["number"],
        "result": CANARIES["address"],
        "value": CANARIES["number"],
    }
    stuffed["title"] = stuffed["context"] = CANARIES["name"]
    assert item.rebuilt(stuffed, masker) == clean
    assert item.rebuilt(clean, masker) == clean


@pytest.mark.parametrize(
    "field", ["environment", "level", "timestamp", "uuid", "server", "body", "kind"]
)
def test_a_document_that_is_no_report_does_not_leave_and_is_not_quoted(
    masker: Masker, field: str
) -> None:
    document: dict[str, Any] = {
        "environment": "production",
        "level": "error",
        "timestamp": 1,
        "uuid": "0" * 32,
        "fingerprint": "1" * 40,
        "server": {"host": "db1"},
        "body": {"message": {"body": "x", "kind": "error"}},
    }
    place = document["body"]["message"] if field == "kind" else document
    place[field] = CANARIES["name"]
    with pytest.raises(ValueError, match="no report") as caught:
        item.rebuilt(document, masker)
    assert "kanarien" not in str(caught.value).lower()


def test_what_the_package_would_send_by_itself_ends_at_the_door(
    reporting: Configuration, rollbar_server: Rollbar, masker: Masker
) -> None:
    import rollbar
    from rollbar.lib import transport

    wire = Wire(reporting.report, token(reporting), lambda found: item.rebuilt(found, masker))
    transport._local.session = wire._session
    try:
        rollbar.BASE_DATA_HOOK = lambda _request, data: data.update(custom=CANARIES)
        try:
            raise raised()
        except ValueError:
            rollbar.report_exc_info(
                extra_data=CANARIES, payload_data={"person": CANARIES}, request=CANARIES
            )
        rollbar.report_message(CANARIES["name"], extra_data=CANARIES)
        logging.getLogger("rollbar").error(CANARIES["name"])
        with pytest.raises(Exception, match="not fit to leave"):
            transport.post("http://127.0.0.1:9/elsewhere", data=json.dumps(CANARIES), timeout=1)  # type: ignore[no-untyped-call]
    finally:
        rollbar.BASE_DATA_HOOK = None
        del transport._local.session
    assert [one for one in TELLING if one in rollbar_server.everything().lower()] == []


def test_neither_proxy_nor_netrc_nor_redirection_gets_the_token(
    reporting: Configuration,
    rollbar_server: Rollbar,
    masker: Masker,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "netrc").write_text(
        "machine 127.0.0.1 login kanarienvogel password kan4r13nv0g3l\n"
    )
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    elsewhere = Rollbar()
    try:
        rollbar_server.answers = [(307, {"Location": f"{elsewhere.address}/api/1/item/"})]
        report.trial(reporting)
        done = drain(reporting, report.open_queue(reporting), masker, force=True)
        assert (done.sent, done.left, done.why) == (0, 1, "Rollbar answered with 307")
        assert elsewhere.requests == []
    finally:
        elsewhere.server.server_close()
    (_, path, headers, _) = rollbar_server.requests[0]
    assert path == "/api/1/item/"
    assert set(headers) == {
        *("Host", "Accept-Encoding", "Content-Type", "User-Agent", "Content-Length"),
        "X-Rollbar-Access-Token",
    }
    assert headers["X-Rollbar-Access-Token"] == TOKEN


def test_the_name_of_the_machine_is_not_the_name_of_the_host(
    reporting: Configuration,
    rollbar_server: Rollbar,
    masker: Masker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    machine = rename_machine(monkeypatch)
    report.trial(reporting)
    send(reporting, masker)
    assert rollbar_server.items[0]["server"] == {"host": "db1"}
    for name in (machine, "kanarienvogel-laptop"):
        assert name not in rollbar_server.everything()
