"""MySQL and MariaDB sources, against a real MariaDB of the tests' own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.backup.sources import DumpReport, RestoreRequest
from agent.backup.sources import mysql as plugin
from agent.backup.sources._mysql_rows import RowCounter
from agent.config.sources import MySQLSource
from agent.errors import Art32Error, Code
from tests.fixtures.databases import MariaDBServer

ODD_TABLE = "a `quoted` tablé"
SCHEMA = r"""
    CREATE TABLE person (id INT PRIMARY KEY AUTO_INCREMENT, name TEXT, image BLOB,
        size INT AS (LENGTH(name)) STORED) ENGINE=InnoDB;
    INSERT INTO person (name, image) VALUES
        ('),(1,2);\nINSERT INTO `person` VALUES\n(1', x'00270A5C29'),
        ('it''s \\ "quoted" \\', NULL), ('-- Dump completed', ''),
        ('\n--\n-- Table structure', '('),
        ('line\r\nline', 'x');
    INSERT INTO person (name) SELECT REPEAT('\'),(', 20) FROM seq_1_to_500;
    CREATE TABLE `a ``quoted`` tablé` (a INT) ENGINE=InnoDB COMMENT 'DELIMITER ;;';
    INSERT INTO `a ``quoted`` tablé` VALUES (1), (2);
    CREATE TABLE nothing (a INT) ENGINE=InnoDB;
    CREATE TABLE old (a INT) ENGINE=MyISAM;
    INSERT INTO old VALUES (1), (2), (3);
    CREATE VIEW names AS SELECT name FROM person;
    DELIMITER ;;
    CREATE TRIGGER copied AFTER INSERT ON nothing FOR EACH ROW BEGIN
INSERT INTO `old` VALUES
(1),
(2);
    END;;
    DELIMITER ;
"""
ROWS = {"person": 505, ODD_TABLE: 2, "nothing": 0, "old": 3}


def source(server: MariaDBServer, database: str, **settings: Any) -> MySQLSource:
    defaults = {"kind": "mysql", "name": "shop", "database": database, "socket": server.socket}
    return MySQLSource(**{**defaults, **settings})


def dumped(config: MySQLSource) -> tuple[bytes, DumpReport]:
    with plugin.dump(config, "") as running:
        data = b"".join(iter(running.read, b""))
        return data, running.finish()


def pieces(data: bytes, size: int = 4000) -> Iterator[bytes]:
    return (data[i : i + size] for i in range(0, len(data), size))


def options(path: Path, text: str, mode: int = 0o600) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


@pytest.fixture(autouse=True)
def user(mariadb: MariaDBServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Log in as the server's root by an option file in a home of our own."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / ".my.cnf").write_text("[client]\nuser=root\n")


@pytest.fixture
def server(mariadb: MariaDBServer) -> Iterator[MariaDBServer]:
    """The server with an account `restorer` for databases `new%`; leaves no other database."""
    before = mariadb.names()
    mariadb.sql(
        "CREATE OR REPLACE USER restorer@localhost; GRANT ALL ON `new%`.* TO restorer@localhost"
    )
    yield mariadb
    for name in mariadb.names() - before:
        mariadb.sql("DROP DATABASE `" + name.replace("`", "``") + "`")


def request(
    server: MariaDBServer, database: str, *, user: str = "restorer", **settings: Any
) -> RestoreRequest:
    address = f"mysql:///{quote(database, safe='')}?socket={server.socket}&user={user}"
    return RestoreRequest(target=address, facts=settings.pop("facts", {}), **settings)


def refused(data: bytes, wanted: RestoreRequest) -> Art32Error:
    with pytest.raises(Art32Error) as caught:
        plugin.restore(pieces(data), wanted)
    return caught.value


def test_rows_are_counted_from_the_stream(server: MariaDBServer) -> None:
    data, report = dumped(source(server, server.create("shop", SCHEMA)))
    assert report.rows == ROWS
    assert b"-- Dump completed" in data[-100:]
    assert report.facts["character_set"] == "utf8mb4"


def test_tables_without_transactions_are_named_and_counted(server: MariaDBServer) -> None:
    report = dumped(source(server, server.create("shop", SCHEMA)))[1]
    assert report.facts["non_transactional_tables"] == ["old"]
    assert report.warnings == (("non-transactional-tables", 1),)


def test_counting_can_be_switched_off(server: MariaDBServer) -> None:
    config = source(server, server.create("shop", SCHEMA), row_counts=False)
    assert dumped(config)[1].rows is None


def test_a_password_comes_from_an_option_file_over_tcp(
    server: MariaDBServer, tmp_path: Path
) -> None:
    server.sql(
        "CREATE OR REPLACE USER tcp@'%' IDENTIFIED BY 'a-word'; GRANT ALL ON `shop`.* TO tcp@'%'"
    )
    server.create("shop", "CREATE TABLE t (a INT)")
    tcp = {"socket": None, "host": "127.0.0.1", "port": server.port}
    path = options(tmp_path / "my.cnf", "[client]\nuser=tcp\npassword=a-word\n")
    assert dumped(source(server, "shop", defaults_file=path, **tcp))[1].rows == {"t": 0}
    wrong = options(tmp_path / "wrong.cnf", "[client]\nuser=tcp\npassword=b-word\n")
    with pytest.raises(Art32Error) as caught:
        plugin.probe(source(server, "shop", defaults_file=wrong, **tcp))
    assert caught.value.code is Code.SOURCE_FAILED
    assert "b-word" not in caught.value.sentence


def test_an_option_file_open_to_others_is_refused(server: MariaDBServer, tmp_path: Path) -> None:
    path = options(tmp_path / "my.cnf", "[client]\n", mode=0o644)
    for attempt in (plugin.probe, dumped):
        with pytest.raises(Art32Error) as caught:
            attempt(source(server, "shop", defaults_file=path))
        assert caught.value.code is Code.PERMISSION


def test_a_missing_database_and_a_missing_server_are_missing_sources(
    server: MariaDBServer, tmp_path: Path
) -> None:
    for config in (source(server, "absent"), source(server, "x", socket=tmp_path / "none")):
        for attempt in (plugin.probe, dumped):
            with pytest.raises(Art32Error) as caught:
                attempt(config)
            assert caught.value.code is Code.SOURCE_MISSING


@pytest.mark.parametrize(
    ("script", "code"),
    [
        ('/usr/bin/mariadb-dump "$@" | head -n -1', Code.SOURCE_INCOMPLETE),
        ('/usr/bin/mariadb-dump "$@" | head -c 2000; exit 3', Code.SOURCE_FAILED),
        ('/usr/bin/mariadb-dump "$@"; kill -9 $$', Code.SOURCE_FAILED),
        ("exit 0", Code.SOURCE_INCOMPLETE),
    ],
)
def test_a_dump_that_is_not_whole_is_an_error(
    server: MariaDBServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    script: str,
    code: Code,
) -> None:
    server.create("shop", SCHEMA)
    fake = tmp_path / "mariadb-dump"
    fake.write_text(f"#!/bin/sh\n{script}\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(Art32Error) as caught:
        dumped(source(server, "shop"))
    assert caught.value.code is code


def escaped(text: bytes) -> bytes:
    """Escape as mysql_real_escape_string() does."""
    for plain, replacement in (
        (b"\\", b"\\\\"),
        (b"\0", b"\\0"),
        (b"\n", b"\\n"),
        (b"\r", b"\\r"),
        (b"'", b"\\'"),
        (b'"', b'\\"'),
        (b"\x1a", b"\\Z"),
    ):
        text = text.replace(plain, replacement)
    return text


VALUES = st.one_of(
    st.just(b"NULL"),
    st.integers().map(lambda number: str(number).encode()),
    st.binary(min_size=1, max_size=6).map(lambda data: b"0x" + data.hex().encode()),
    st.lists(
        st.sampled_from(
            [
                b"'",
                b"\\",
                b"(",
                b")",
                b"),(",
                b"\n",
                b");\n",
                b"\n(",
                b";",
                b"INSERT INTO `t`",
                b"x",
            ]
        ),
        max_size=8,
    ).map(lambda parts: b"'" + escaped(b"".join(parts)) + b"'"),
)
ROW = st.lists(VALUES, min_size=1, max_size=4).map(lambda values: b"(" + b",".join(values) + b")")
STATEMENT = st.tuples(st.sampled_from([b"t", b"a``b", b"(x) VALUES"]), st.lists(ROW, min_size=1))


@settings(max_examples=150, deadline=None)
@given(st.lists(STATEMENT, max_size=5), st.booleans(), st.booleans(), st.integers(1, 60))
def test_rows_are_counted_right_whatever_they_hold_and_wherever_the_pieces_end(
    statements: list[tuple[bytes, list[bytes]]], by_line: bool, columns: bool, size: int
) -> None:
    data, expected = b"-- a dump\n", dict[str, int]()
    for table, rows in statements:
        name = table.replace(b"``", b"`").decode()
        expected[name] = expected.get(name, 0) + len(rows)
        head = b"INSERT INTO `" + table + b"`" + (b" (`a`, `b)`)" if columns else b"") + b" VALUES"
        data += b"LOCK TABLES `" + table + b"` WRITE;\n" + head
        data += b"\n" + b",\n".join(rows) if by_line else b" " + b",".join(rows)
        data += b";\nUNLOCK TABLES;\n"
    counter = RowCounter()
    for piece in pieces(data + b"-- Dump completed\n", size):
        counter(piece)
    assert counter.rows == expected


def test_a_restored_database_dumps_to_the_same_sql(server: MariaDBServer) -> None:
    plain = SCHEMA.split("CREATE VIEW")[0]
    data, report = dumped(source(server, server.create("shop", plain)))
    plugin.restore(pieces(data), request(server, "new 1", facts=report.facts))

    def lines(name: str) -> list[bytes]:
        text = dumped(source(server, name))[0]
        return [line for line in text.split(b"\n") if not line.startswith(b"--")]

    assert lines("new 1") == lines("shop")


def test_views_and_triggers_come_back_where_the_account_may_make_them(
    server: MariaDBServer,
) -> None:
    data = dumped(source(server, server.create("shop", SCHEMA)))[0]
    assert refused(data, request(server, "new")).code is Code.TARGET_FAILED
    assert "new" not in server.names()
    plugin.restore(pieces(data), request(server, "new", user="root", allow_superuser=True))
    assert server.sql("SELECT COUNT(*) FROM new.names") == "505"
    server.sql("INSERT INTO new.nothing VALUES (1)")
    assert server.sql("SELECT COUNT(*) FROM new.old") == "5"


@pytest.mark.parametrize("size", [7, 4000, 1 << 20])
def test_one_table_is_picked_out_of_the_stream(server: MariaDBServer, size: int) -> None:
    data = dumped(source(server, server.create("shop", SCHEMA)))[0]
    for table in ("person", ODD_TABLE):
        plugin.restore(pieces(data, size), request(server, "new", only=table))
        assert server.sql("SHOW TABLES IN new") == table
        quoted = table.replace("`", "``")
        assert server.sql(f"SELECT COUNT(*) FROM new.`{quoted}`") == str(ROWS[table])
        server.sql("DROP DATABASE new")
    assert refused(data, request(server, "new", only="absent")).code is Code.TARGET_FAILED
    assert "new" not in server.names()


def test_an_existing_database_is_refused_and_kept(server: MariaDBServer) -> None:
    data = dumped(source(server, server.create("shop", "CREATE TABLE t (a INT)")))[0]
    server.create("new", "CREATE TABLE precious (a INT)")
    for overwrite in (False, True):
        wanted = request(server, "new", overwrite=overwrite)
        assert refused(data, wanted).code is Code.TARGET_EXISTS
    assert server.sql("SHOW TABLES IN new") == "precious"


def test_a_dump_without_its_end_and_a_stream_that_fails_leave_nothing(
    server: MariaDBServer,
) -> None:
    data = dumped(source(server, server.create("shop", "CREATE TABLE t (a INT)")))[0]
    cut = data[: data.index(b"-- Dump completed")]
    for bad in (cut, b"", b"no sql at all;\n-- Dump completed\n"):
        assert refused(bad, request(server, "new")).code is Code.TARGET_FAILED
        assert "new" not in server.names()

    def stream() -> Iterator[bytes]:
        yield data
        raise Art32Error(Code.CORRUPT, "the last segment is not what was signed")

    with pytest.raises(Art32Error) as caught:
        plugin.restore(stream(), request(server, "new"))
    assert caught.value.code is Code.CORRUPT
    assert "new" not in server.names()


@pytest.mark.parametrize(
    "attack",
    [
        "\\! touch CANARY",
        "system touch CANARY",
        "select 1 \\! touch CANARY\n;",
        "\\. FILE",
        "source FILE",
        "tee CANARY\nselect 1;",
        "pager touch CANARY\nselect 1;",
        "CREATE TABLE t (a TEXT); LOAD DATA LOCAL INFILE 'FILE' INTO TABLE t;",
        "CREATE TABLE t (a TEXT); LOAD DATA INFILE 'FILE' INTO TABLE t;",
        "SELECT 1 INTO OUTFILE 'CANARY';",
        "USE victim; DROP TABLE precious;",
        "DROP DATABASE victim;",
        "CREATE USER intruder;",
        "SET GLOBAL general_log = 1;",
    ],
)
def test_a_hostile_dump_neither_runs_a_program_nor_reaches_beyond_its_database(
    server: MariaDBServer, attack: str
) -> None:
    canary, file = server.socket.parent / "canary", server.socket.parent / "file"
    file.write_text(f"\\! touch {canary}\n")
    file.chmod(0o644)
    server.create("victim", "CREATE TABLE precious (a INT)")
    text = attack.replace("CANARY", str(canary)).replace("FILE", str(file))
    data = f"-- MariaDB dump\n{text}\n-- Dump completed\n".encode()
    assert refused(data, request(server, "new")).code is Code.TARGET_FAILED
    assert "new" not in server.names()
    assert not canary.exists()
    assert server.sql("SHOW TABLES IN victim") == "precious"


@pytest.mark.parametrize(
    "grant",
    [
        "SUPER ON *.*",
        "FILE ON *.*",
        "SELECT ON *.*",
        "ALL ON *.*",
        "ALL ON mysql.*",
        "ALL ON `%`.*",
        "SELECT ON mysql.global_priv",
    ],
)
def test_an_account_that_a_dump_could_misuse_is_refused(server: MariaDBServer, grant: str) -> None:
    server.sql(f"CREATE OR REPLACE USER mighty@localhost; GRANT {grant} TO mighty@localhost")
    with pytest.raises(Art32Error) as caught:
        plugin.check_target(request(server, "new", user="mighty"))
    assert caught.value.code is Code.TARGET_UNSAFE
    plugin.check_target(request(server, "new", user="mighty", allow_superuser=True))


@pytest.mark.parametrize(
    ("address", "code"),
    [
        ("mysql://db.internal/new", Code.TARGET_UNSAFE),
        ("mysql:///new?host=127.0.0.1", Code.TARGET_UNSAFE),
        ("mysql://user:word@/new", Code.USAGE),
        ("mysql:///new?password=word", Code.USAGE),
        ("mysql:///new?plugin_dir=/tmp", Code.USAGE),
        ("mysql:///?socket=/run/s", Code.USAGE),
        ("mysql:///new?socket=relative", Code.USAGE),
        ("mysql://[::1/new", Code.USAGE),
        ("/var/tmp/new", Code.USAGE),
        ("mysql:///new?socket=/nowhere", Code.TARGET_FAILED),
    ],
)
def test_an_address_that_is_no_new_database_behind_a_socket_is_refused(
    address: str, code: Code
) -> None:
    with pytest.raises(Art32Error) as caught:
        plugin.check_target(RestoreRequest(target=address, facts={}))
    assert caught.value.code is code
