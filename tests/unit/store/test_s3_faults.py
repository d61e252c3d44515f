"""The S3 store against a network and a server that fail in every way there is."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agent import clock
from agent.config.model import S3Store
from agent.errors import Art32Error, Code
from agent.store import Store, open_store
from tests.fixtures import proxy as faulty
from tests.fixtures.ports import free_port
from tests.fixtures.proxy import Fault, Proxy, refusal
from tests.fixtures.s3 import VERSIONED, S3Server

LARGE = 8 << 20  # more than the buffers of a connection hold


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Let no test wait, and tell how long art32 would have waited."""
    waited: list[float] = []
    monkeypatch.setattr(clock, "sleep", waited.append)
    return waited


@pytest.fixture
def between(seaweedfs: S3Server) -> Iterator[Proxy]:
    with faulty.proxy(seaweedfs.endpoint) as running:
        yield running


@pytest.fixture
def config(seaweedfs: S3Server, between: Proxy) -> S3Store:
    return seaweedfs.config(VERSIONED, endpoint=between.endpoint, attempts=4)


@pytest.fixture
def store(config: S3Store, pauses: list[float]) -> Store:
    return open_store(config)


def impatient(config: S3Store, seconds: float) -> Store:
    """Return the store with a limit short enough to wait for a stall in a test."""
    return open_store(config.model_copy(update={"timeout": seconds}))


def put(store: Store, name: str, data: bytes) -> None:
    store.put(name, data, sha256=hashlib.sha256(data).hexdigest())


TRANSIENT = {
    "500": refusal(500, "InternalError"),
    "502 without xml": Fault(
        forward=False,
        reply=b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 4\r\nConnection: close\r\n\r\noops",
    ),
    "503 SlowDown": refusal(503, "SlowDown"),
    "429": refusal(429, "TooManyRequests"),
    "400 RequestTimeout": refusal(400, "RequestTimeout"),
    "409 conflict": refusal(409, "ConditionalRequestConflict"),
    "lost request": faulty.LOST_REQUEST,
    "lost reply": faulty.LOST_REPLY,
    "stalled reply": faulty.STALLED_REPLY,
    "stalled send": faulty.STALLED_SEND,
    "cut reply": Fault(
        forward=False, reply=b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n<half", keep=1.0
    ),
}


@pytest.mark.parametrize("size", [10, LARGE])
@pytest.mark.parametrize("fault", TRANSIENT)
def test_a_put_survives_what_passes(
    config: S3Store, between: Proxy, pauses: list[float], fault: str, size: int
) -> None:
    between.methods, between.faults = ("PUT",), [TRANSIENT[fault]]
    put(impatient(config, 5 if "stalled" in fault else 20), "name", bytes(size))
    assert between.seen == ["PUT", "PUT"]
    direct = open_store(config.model_copy(update={"endpoint": between.upstream}))
    assert direct.get("name", limit=size) == bytes(size)


def test_a_slow_transfer_that_makes_progress_is_not_broken_off(
    config: S3Store, between: Proxy, pauses: list[float]
) -> None:
    store = impatient(config, 4)
    between.methods, between.faults = ("PUT",), [faulty.SLOW_SEND]
    put(store, "name", bytes(LARGE))
    assert between.seen == ["PUT"]


def test_a_lost_reply_is_no_foreign_object(
    store: Store, between: Proxy, seaweedfs: S3Server
) -> None:
    between.methods, between.faults = ("PUT",), [faulty.LOST_REPLY]
    put(store, "name", b"data")
    assert between.seen == ["PUT", "PUT"]
    assert [found.name for found in store.list()] == ["name"]


@pytest.mark.parametrize("fault", ["503 SlowDown", "429", "400 RequestTimeout", "409 conflict"])
def test_after_a_refusal_for_now_a_taken_name_is_still_taken(
    store: Store, between: Proxy, fault: str
) -> None:
    put(store, "name", b"first")
    between.methods, between.faults = ("PUT",), [TRANSIENT[fault]]
    with pytest.raises(Art32Error) as caught:
        put(store, "name", b"second")
    assert caught.value.code is Code.OBJECT_EXISTS
    assert store.get("name", limit=10) == b"first"


@pytest.mark.parametrize(
    "fault", [faulty.HALF_A_REPLY, faulty.LOST_REPLY, faulty.STALLED_REPLY, TRANSIENT["500"]]
)
def test_a_get_that_breaks_off_is_repeated(
    config: S3Store, between: Proxy, pauses: list[float], fault: Fault
) -> None:
    store = impatient(config, 5 if fault.stall else 20)
    data = hashlib.shake_256(b"seed").digest(1 << 20)
    put(store, "name", data)
    between.methods, between.path, between.faults = ("GET",), "/name", [fault]
    assert store.get("name", limit=len(data)) == data
    assert between.seen == ["PUT", "GET", "GET"]


@pytest.mark.parametrize(
    ("fault", "code", "said"),
    [
        (refusal(503, "ServiceUnavailable"), Code.STORE_FAILED, "ServiceUnavailable (HTTP 503)"),
        (faulty.LOST_REQUEST, Code.STORE_UNREACHABLE, "broke the connection"),
        (faulty.STALLED_REPLY, Code.STORE_UNREACHABLE, "no progress for 1 s"),
    ],
)
def test_what_does_not_pass_is_an_error_after_the_configured_attempts(
    config: S3Store, between: Proxy, pauses: list[float], fault: Fault, code: Code, said: str
) -> None:
    store = impatient(config, 1 if fault.stall else 20)
    between.forever, between.methods, between.faults = True, ("PUT",), [fault]
    with pytest.raises(Art32Error) as caught:
        put(store, "name", b"data")
    assert caught.value.code is code
    assert said in caught.value.sentence
    assert caught.value.hint
    assert between.seen == ["PUT"] * 4
    assert len(pauses) == 3
    assert all(0.2 <= pause <= 2 for pause in pauses)


def test_a_server_that_names_a_time_is_given_it(
    store: Store, between: Proxy, pauses: list[float]
) -> None:
    between.methods = ("PUT",)
    between.faults = [refusal(503, "SlowDown", "Retry-After: 17")]
    put(store, "name", b"data")
    assert pauses == [17.0]


FINAL = {
    ("403", "AccessDenied"): Code.STORE_REFUSED,
    ("403", "InvalidAccessKeyId"): Code.STORE_REFUSED,
    ("403", "SignatureDoesNotMatch"): Code.STORE_REFUSED,
    ("403", "RequestTimeTooSkewed"): Code.CLOCK_SKEW,
    ("400", "BadDigest"): Code.CORRUPT,
    ("400", "InvalidRequest"): Code.STORE_FAILED,
    ("404", "NoSuchBucket"): Code.STORE_MISSING,
    ("403", "QuotaExceeded"): Code.STORE_FULL,
    ("507", "InsufficientStorage"): Code.STORE_FULL,
    ("501", "NotImplemented"): Code.STORE_FAILED,
}


@pytest.mark.parametrize(("status", "code"), FINAL)
def test_what_will_not_pass_is_not_repeated(
    store: Store, between: Proxy, pauses: list[float], status: str, code: str
) -> None:
    between.methods, between.faults = ("PUT",), [refusal(int(status), code)]
    with pytest.raises(Art32Error) as caught:
        put(store, "name", b"data")
    assert caught.value.code is FINAL[status, code]
    assert pauses == []
    assert between.seen == ["PUT"]


def test_a_refusal_is_heard_before_the_data_is_sent(store: Store, between: Proxy) -> None:
    between.methods, between.faults = ("PUT",), [refusal(403, "AccessDenied")]
    with pytest.raises(Art32Error) as caught:
        put(store, "name", bytes(LARGE))
    assert caught.value.code is Code.STORE_REFUSED


def test_another_region_is_named(store: Store, between: Proxy) -> None:
    between.methods = ("PUT",)
    between.faults = [
        refusal(400, "AuthorizationHeaderMalformed", "x-amz-bucket-region: eu-west-3")
    ]
    with pytest.raises(Art32Error) as caught:
        put(store, "name", b"data")
    assert caught.value.hint == 'set `region = "eu-west-3"` in `[store]`'


def test_a_server_that_lists_no_versions_is_listed_plainly(store: Store, between: Proxy) -> None:
    put(store, "name", b"data")
    between.path, between.methods, between.forever = "versions", ("GET",), True
    between.faults = [refusal(501, "NotImplemented")]
    assert [found.name for found in store.list()] == ["name"]
    assert store.get("name", limit=10) == b"data"


def test_without_the_right_to_list_versions_nothing_is_said_to_be_deleted(
    store: Store, between: Proxy
) -> None:
    put(store, "name", b"data")
    between.path, between.methods, between.forever = "versions", ("GET",), True
    between.faults = [refusal(403, "AccessDenied")]
    assert store.get("name", limit=10) == b"data"
    with pytest.raises(Art32Error) as caught:
        store.delete("name")
    assert caught.value.code is Code.STORE_REFUSED


def test_the_clock_is_read_from_a_refusal_too(store: Store, between: Proxy) -> None:
    between.faults = [refusal(403, "RequestTimeTooSkewed")]
    assert clock.iso(store.now()) == "2026-11-23T03:15:00Z"


@pytest.mark.parametrize(
    ("changes", "code", "word"),
    [
        ({"bucket": "no-such-bucket"}, Code.STORE_MISSING, "no-such-bucket"),
        ({"profile": "nobody"}, Code.STORE_REFUSED, "credentials_file"),
        ({"credentials_file": Path("/nonexistent/file")}, Code.CONFIG_MISSING, "nonexistent"),
        ({"ca_file": Path("/nonexistent/ca")}, Code.CONFIG_MISSING, "ca_file"),
        ({"endpoint": "http://host.invalid"}, Code.STORE_UNREACHABLE, "host.invalid"),
    ],
)
def test_a_wrong_configuration_is_explained(
    seaweedfs: S3Server, pauses: list[float], changes: dict[str, Any], code: Code, word: str
) -> None:
    store = open_store(seaweedfs.config(VERSIONED).model_copy(update=changes))
    with pytest.raises(Art32Error) as caught:
        put(store, "name", b"data")
    assert caught.value.code is code
    assert word in f"{caught.value.sentence} {caught.value.hint}"


def test_nobody_listening_is_unreachable(seaweedfs: S3Server, pauses: list[float]) -> None:
    store = open_store(seaweedfs.config(VERSIONED, endpoint=f"http://127.0.0.1:{free_port()}"))
    with pytest.raises(Art32Error) as caught:
        put(store, "name", b"data")
    assert caught.value.code is Code.STORE_UNREACHABLE
    assert len(pauses) == 5


def test_tls_to_a_server_without_it_is_unreachable(
    seaweedfs: S3Server, pauses: list[float]
) -> None:
    endpoint = seaweedfs.endpoint.replace("http:", "https:")
    with pytest.raises(Art32Error) as caught:
        put(open_store(seaweedfs.config(VERSIONED, endpoint=endpoint)), "name", b"data")
    assert caught.value.code is Code.STORE_UNREACHABLE
    assert "ca_file" in (caught.value.hint or "")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644])
def test_a_credentials_file_that_others_may_read_is_refused(
    seaweedfs: S3Server, tmp_path: Path, mode: int
) -> None:
    path = tmp_path / "credentials"
    path.write_text("[admin]\naws_access_key_id = a\naws_secret_access_key = very-secret\n")
    path.chmod(mode)
    with pytest.raises(Art32Error) as caught:
        open_store(seaweedfs.config(VERSIONED, credentials_file=path)).now()
    assert caught.value.code is Code.PERMISSION
    assert caught.value.hint == f"chmod 600 {path}"


@pytest.mark.parametrize(
    "content", ["very-secret\n", "[admin\n", "[admin]\nvery-secret\n", "", "\xff"]
)
def test_a_credentials_file_that_makes_no_sense_is_not_quoted(
    seaweedfs: S3Server, tmp_path: Path, content: str
) -> None:
    path = tmp_path / "credentials"
    path.write_text(content, encoding="latin-1")
    path.chmod(0o600)
    with pytest.raises(Art32Error) as caught:
        open_store(seaweedfs.config(VERSIONED, credentials_file=path)).now()
    assert caught.value.code is Code.STORE_REFUSED
    assert "very-secret" not in f"{caught.value} {caught.value.hint}"


def test_wrong_credentials_are_refused_and_not_shown(
    seaweedfs: S3Server, tmp_path: Path, pauses: list[float]
) -> None:
    path = tmp_path / "credentials"
    path.write_text("[admin]\naws_access_key_id = admin-key\naws_secret_access_key = very-secret\n")
    path.chmod(0o600)
    with pytest.raises(Art32Error) as caught:
        put(open_store(seaweedfs.config(VERSIONED, credentials_file=path)), "name", b"data")
    assert caught.value.code is Code.STORE_REFUSED
    assert "very-secret" not in f"{caught.value} {caught.value.hint}"
    assert pauses == []


def test_the_environment_changes_neither_credentials_nor_endpoint(
    seaweedfs: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "foreign")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "foreign")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://host.invalid")
    store = open_store(seaweedfs.config(VERSIONED))
    put(store, "name", b"data")
    assert store.get("name", limit=10) == b"data"
