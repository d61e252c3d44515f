"""Restoring PostgreSQL, from dumps of friends and of enemies."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from agent import run
from agent.backup.sources import RestoreRequest
from agent.backup.sources import postgresql as plugin
from agent.backup.sources._postgresql_target import parse
from agent.config.sources import PostgreSQLSource
from agent.errors import Art32Error, Code
from tests.fixtures.databases import PostgreSQLServer

FACTS = {"format": "postgresql-custom", "encoding": "UTF8", "collation": "C", "ctype": "C"}
SCHEMA = """
    CREATE SCHEMA shop;
    CREATE TYPE mood AS ENUM ('good', 'bad');
    CREATE FUNCTION positive(bigint) RETURNS boolean LANGUAGE sql AS 'SELECT $1 > 0';
    CREATE FUNCTION touched() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN new; END';
    CREATE TABLE shop.customer (id serial PRIMARY KEY, name text);
    CREATE TABLE shop.orders (
        id bigserial PRIMARY KEY, customer int REFERENCES shop.customer,
        mood mood DEFAULT 'good', CHECK (positive(id)));
    CREATE INDEX by_mood ON shop.orders (mood);
    CREATE TRIGGER touch BEFORE UPDATE ON shop.orders FOR EACH ROW EXECUTE FUNCTION touched();
    CREATE VIEW shop.overview AS SELECT * FROM shop.orders;
    INSERT INTO shop.customer (name) SELECT 'name ' || i FROM generate_series(1, 100) i;
    INSERT INTO shop.orders (customer) SELECT i FROM generate_series(1, 100) i;
    CREATE TABLE parted (a int) PARTITION BY RANGE (a);
    CREATE TABLE part PARTITION OF parted FOR VALUES FROM (0) TO (100);
    INSERT INTO parted SELECT generate_series(1, 50);
"""


def pieces(data: bytes, size: int = 4000) -> Iterator[bytes]:
    return (data[i : i + size] for i in range(0, len(data), size))


def dump_of(server: PostgreSQLServer, database: str) -> bytes:
    arguments = [*("-h", str(server.socket), "-U", "admin", "-Fc", "-Z0", database)]
    done = run.run([str(server.binaries / "pg_dump"), *arguments])
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def server(postgresql: PostgreSQLServer) -> Iterator[PostgreSQLServer]:
    """The server with a role `restorer` that may create databases; leaves no other database."""
    before = postgresql.names()
    postgresql.sql(
        "DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'restorer')"
        " THEN CREATE ROLE restorer LOGIN CREATEDB; END IF; END $$"
    )
    yield postgresql
    for name in postgresql.names() - before:
        postgresql.sql('DROP DATABASE "' + name.replace('"', '""') + '" WITH (FORCE)')


def request(
    server: PostgreSQLServer, database: str, *, user: str = "restorer", **settings: Any
) -> RestoreRequest:
    address = f"postgresql:///{quote(database, safe='')}?host={server.socket}&user={user}"
    return RestoreRequest(target=address, facts=settings.pop("facts", FACTS), **settings)


def refused(data: bytes, wanted: RestoreRequest) -> Art32Error:
    with pytest.raises(Art32Error) as caught:
        plugin.restore(pieces(data), wanted)
    return caught.value


def test_a_restored_database_dumps_to_the_same_sql(server: PostgreSQLServer) -> None:
    data = dump_of(server, server.create("before", SCHEMA))
    sentence = plugin.restore(pieces(data), request(server, 'after "é" = 1'))
    assert 'after "é" = 1' in sentence

    def plain(name: str) -> str:
        text = server.run("pg_dump", "--no-owner", database=name)
        return "\n".join(line for line in text.split("\n") if "restrict" not in line)

    assert plain('after "é" = 1') == plain("before")
    owner = "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname LIKE 'after%'"
    assert server.sql(owner) == "restorer"


PROPERTIES = r"""
    COMMENT ON DATABASE {0} IS E'it''s \\ ours\n\\! touch /tmp/x';
    ALTER DATABASE {0} CONNECTION LIMIT 7;
    ALTER DATABASE {0} SET search_path = "$user", shop, "a,""b c";
    ALTER DATABASE {0} SET temp_tablespaces = '';
    ALTER DATABASE {0} SET timezone = 'Europe/Berlin';
    ALTER DATABASE {0} SET work_mem = '5MB';
    ALTER DATABASE {0} SET default_transaction_read_only = on;
    ALTER DATABASE {0} SET app.secret = E'q=\'\\" ;:x';
    ALTER ROLE reader IN DATABASE {0} SET search_path = '';
    REVOKE CONNECT ON DATABASE {0} FROM PUBLIC;
    GRANT CREATE ON DATABASE {0} TO PUBLIC;
    GRANT CONNECT ON DATABASE {0} TO reader WITH GRANT OPTION;
    ALTER DATABASE {0} OWNER TO keeper;
"""
CONNECTABLE = "SELECT has_database_privilege('other', '{}', 'CONNECT')"


@pytest.fixture
def dressed(server: PostgreSQLServer) -> tuple[bytes, dict[str, Any]]:
    """The dump and the facts of a database that has properties of every kind."""
    for role in ("reader", "keeper", "other"):
        server.sql(f"DROP ROLE IF EXISTS {role}; CREATE ROLE {role} LOGIN")
    server.sql(PROPERTIES.format(server.create("dressed", SCHEMA)))
    source = PostgreSQLSource(
        kind="postgresql",
        name="app",
        database="dressed",
        host=str(server.socket),
        user=server.admin,
    )
    with plugin.dump(source, "") as dump:
        return b"".join(iter(dump.read, b"")), dump.finish().facts


def test_with_owners_a_database_comes_back_with_all_that_is_its_own(
    server: PostgreSQLServer, dressed: tuple[bytes, dict[str, Any]]
) -> None:
    data, facts = dressed
    warnings: list[str] = []
    mighty: dict[str, Any] = {"user": "admin", "allow_superuser": True, "warn": warnings.append}
    wanted = request(server, "twin", facts=facts, owners=True, **mighty)
    plugin.restore(pieces(data), wanted)
    assert warnings == []

    def plain(name: str) -> list[str]:
        text = server.run("pg_dump", "--create", database=name).replace(name, "NAME")
        return sorted(line for line in text.split("\n") if "restrict" not in line)

    assert plain("twin") == plain("dressed")


def test_without_owners_settings_comment_and_the_lock_against_everybody_come_back(
    server: PostgreSQLServer, dressed: tuple[bytes, dict[str, Any]]
) -> None:
    data, facts = dressed
    warnings: list[str] = []
    sentence = plugin.restore(
        pieces(data), request(server, "one", facts=facts, warn=warnings.append)
    )
    assert "`reader`" in sentence
    assert server.sql("SHOW timezone", database="one") == "Europe/Berlin"
    assert server.sql("SHOW search_path", database="one") == '"$user", shop, "a,""b c"'
    assert server.sql(CONNECTABLE.format("one")) == "f"
    assert server.sql("SELECT count(*) FROM shop.orders", database="one") == "100"
    (warning,) = warnings  # a setting that no extension has declared is the superuser's to make
    assert 'ALTER DATABASE "one" SET "app.secret" TO ...' in warning


def test_rights_that_cannot_be_given_are_named_and_the_restore_is_done(
    server: PostgreSQLServer, dressed: tuple[bytes, dict[str, Any]]
) -> None:
    _, facts = dressed
    stranger = {"role": "stranger", "right": "CONNECT", "grantable": False}
    rights = [*facts["properties"]["rights"], stranger]
    facts = {**facts, "properties": {**facts["properties"], "rights": rights}}
    warnings: list[str] = []
    wanted = request(server, "one", facts=facts, owners=True, warn=warnings.append)
    plugin.restore(pieces(dump_of(server, server.create("plain", "SELECT 1"))), wanted)
    assert any('GRANT CONNECT ON DATABASE "one" TO "stranger";' in one for one in warnings)
    assert any('ALTER DATABASE "one" OWNER TO "keeper";' in one for one in warnings)
    assert server.sql("SELECT has_database_privilege('reader', 'one', 'CONNECT')") == "t"


def test_properties_that_are_no_data_run_nothing(server: PostgreSQLServer) -> None:
    data = dump_of(server, server.create("before", SCHEMA))
    canary = server.socket / "canary-of-properties"
    attack = f"x\n\\! touch {canary}\n'; DROP DATABASE before; --"
    hostile = {
        "owner": attack,
        "comment": attack,
        "connection_limit": -1,
        "settings": [{"role": None, "values": [f"{attack}=1", f"search_path={attack}"]}],
        "rights": [{"role": attack, "right": "CONNECT", "grantable": True}],
    }
    nonsense: tuple[object, ...] = (
        {**hostile, "connection_limit": "1; DROP"},
        {**hostile, "comment": "\0"},
        [],
        7,
    )
    for number, properties in enumerate((hostile, *nonsense)):
        warnings: list[str] = []
        facts = {**FACTS, "properties": properties}
        name = f"one{number}"
        mighty: dict[str, Any] = {"user": "admin", "allow_superuser": True, "owners": True}
        wanted = request(server, name, facts=facts, warn=warnings.append, **mighty)
        plugin.restore(pieces(data), wanted)
        assert warnings
        assert name in server.names()
    assert "before" in server.names()
    assert not canary.exists()


def test_the_new_database_has_the_recorded_encoding_and_locale(server: PostgreSQLServer) -> None:
    options = "ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C'"
    script = "CREATE TABLE t (a text); INSERT INTO t VALUES (U&'\\00e9')"
    data = dump_of(server, server.create("latin", script, options=options))
    facts = {**FACTS, "encoding": "LATIN1"}
    plugin.restore(pieces(data), request(server, "latin2", facts=facts))
    assert server.sql("SHOW server_encoding", database="latin2") == "LATIN1"
    assert server.sql("SELECT ascii(a) FROM t", database="latin2") == "233"


def test_an_existing_database_is_refused_and_kept(server: PostgreSQLServer) -> None:
    data = dump_of(server, server.create("before", SCHEMA))
    server.create("taken", "CREATE TABLE precious (a int)")
    with pytest.raises(Art32Error) as caught:
        plugin.check_target(request(server, "taken"))
    assert caught.value.code is Code.TARGET_EXISTS
    assert refused(data, request(server, "taken")).code is Code.TARGET_EXISTS
    assert server.sql("SELECT count(*) FROM precious", database="taken") == "0"


def test_overwriting_keeps_the_old_database_under_another_name(server: PostgreSQLServer) -> None:
    data = dump_of(server, server.create("before", SCHEMA))
    plugin.restore(pieces(data), request(server, "taken"))
    server.sql("CREATE TABLE precious (a int)", database="taken")
    sentence = plugin.restore(pieces(data), request(server, "taken", overwrite=True))
    (kept,) = (name for name in server.names() if name.startswith("taken_replaced_"))
    assert kept in sentence
    assert server.sql("SELECT count(*) FROM precious", database=kept) == "0"
    assert server.sql("SELECT count(*) FROM shop.orders", database="taken") == "100"


def test_one_table_comes_with_all_that_belongs_to_it(server: PostgreSQLServer) -> None:
    data = dump_of(server, server.create("before", SCHEMA))
    plugin.restore(pieces(data, 100), request(server, "one", only="shop.orders"))
    assert server.sql("SELECT count(*) FROM shop.orders", database="one") == "100"
    relations = "SELECT relname FROM pg_class WHERE relnamespace = 'shop'::regnamespace ORDER BY 1"
    assert server.sql(relations, database="one").split("\n") == [
        *("by_mood", "orders", "orders_id_seq", "orders_pkey"),
    ]
    assert server.sql("SELECT tgname FROM pg_trigger", database="one") == "touch"
    inserted = "INSERT INTO shop.orders DEFAULT VALUES RETURNING id, mood"
    assert server.sql(inserted, database="one") == "101|good"


def test_a_partition_alone_comes_with_its_parent_empty(server: PostgreSQLServer) -> None:
    data = dump_of(server, server.create("before", SCHEMA))
    plugin.restore(pieces(data), request(server, "one", only="part"))
    assert server.sql("SELECT count(*), sum(a) FROM parted", database="one") == "50|1275"
    error = refused(data, request(server, "two", only="parted"))
    assert "partition" in (error.hint or "")


def test_a_table_that_is_not_there_leaves_nothing(server: PostgreSQLServer) -> None:
    data = dump_of(server, server.create("before", SCHEMA))
    before = server.names()
    assert refused(data, request(server, "one", only="absent")).code is Code.TARGET_FAILED
    assert server.names() == before


@pytest.mark.parametrize("cut", [0, 3, 200, -3000])
def test_what_is_no_whole_dump_leaves_nothing(server: PostgreSQLServer, cut: int) -> None:
    data = dump_of(server, server.create("before", SCHEMA))[:cut]
    before = server.names()
    assert refused(data, request(server, "one")).code is Code.TARGET_FAILED
    assert refused(b"x" * 5_000_000, request(server, "one")).code is Code.TARGET_FAILED
    assert server.names() == before


def test_a_stream_that_fails_to_verify_at_its_very_end_leaves_nothing(
    server: PostgreSQLServer,
) -> None:
    data = dump_of(server, server.create("before", SCHEMA))

    def stream() -> Iterator[bytes]:
        yield from pieces(data)
        yield b"padding that pg_restore does not need" * 100_000
        raise Art32Error(Code.CORRUPT, "the last segment is not what was signed")

    before = server.names()
    for only in (None, "part"):
        with pytest.raises(Art32Error) as caught:
            plugin.restore(stream(), request(server, "one", only=only))
        assert caught.value.code is Code.CORRUPT
        assert server.names() == before


def hostile(server: PostgreSQLServer, canary: Path) -> bytes:
    """Return the dump of a database whose CHECK constraint runs a program on the server."""
    script = f"""
        CREATE FUNCTION attack() RETURNS boolean LANGUAGE plpgsql AS $$
            BEGIN COPY (SELECT 1) TO PROGRAM 'cat > {canary}'; RETURN true; END $$;
        CREATE TABLE bait (a int);
        INSERT INTO bait VALUES (1);
        ALTER TABLE bait ADD CHECK (attack()) NOT VALID;
    """
    return dump_of(server, server.create("hostile", script)).replace(b" NOT VALID", b"          ")


def test_a_dump_that_runs_a_program_fails_as_a_plain_role_and_leaves_nothing(
    server: PostgreSQLServer,
) -> None:
    canary = server.socket / "canary"
    data = hostile(server, canary)
    before = server.names()
    error = refused(data, request(server, "one"))
    assert error.code is Code.TARGET_FAILED
    assert "COPY" in error.sentence or "pg_execute_server_program" in error.sentence
    assert server.names() == before
    assert not canary.exists()


def test_the_hostile_dump_is_a_real_one(server: PostgreSQLServer) -> None:
    canary = server.socket / "canary-of-the-superuser"
    data = hostile(server, canary)
    plugin.restore(pieces(data), request(server, "one", user="admin", allow_superuser=True))
    assert canary.exists()


def test_functions_that_shadow_the_catalog_do_not_reach_our_own_sql(
    server: PostgreSQLServer,
) -> None:
    script = """
        CREATE FUNCTION public.count(bigint) RETURNS bigint LANGUAGE sql AS 'SELECT 0::bigint';
        CREATE FUNCTION public.to_json(text) RETURNS json LANGUAGE sql AS $$ SELECT '0'::json $$;
        CREATE TABLE t (a bigint);
        INSERT INTO t VALUES (7);
    """
    name = server.create("before", script)
    server.sql("ALTER DATABASE before SET search_path = public, pg_catalog")
    plugin.restore(pieces(dump_of(server, name)), request(server, "one"))
    assert server.sql("SELECT a FROM t", database="one") == "7"


@pytest.mark.parametrize(
    "grant",
    [
        "ALTER ROLE mighty SUPERUSER",
        "ALTER ROLE mighty CREATEROLE",
        "ALTER ROLE mighty REPLICATION",
        "GRANT pg_execute_server_program TO mighty",
        "GRANT pg_write_server_files TO mighty",
        "GRANT pg_read_server_files TO mighty",
        "GRANT admin TO mighty",
    ],
)
def test_a_role_that_a_dump_could_misuse_is_refused(server: PostgreSQLServer, grant: str) -> None:
    server.sql(f"DROP ROLE IF EXISTS mighty; CREATE ROLE mighty LOGIN CREATEDB; {grant}")
    with pytest.raises(Art32Error) as caught:
        plugin.check_target(request(server, "one", user="mighty"))
    assert caught.value.code is Code.TARGET_UNSAFE
    plugin.check_target(request(server, "one", user="mighty", allow_superuser=True))


def test_roles_are_not_fed_to_a_server(server: PostgreSQLServer) -> None:
    wanted = request(server, "one", facts={"format": "postgresql-globals"})
    with pytest.raises(Art32Error) as caught:
        plugin.check_target(wanted)
    assert caught.value.code is Code.TARGET_UNSAFE
    assert "--to -" in (caught.value.hint or "")


@pytest.mark.parametrize(
    ("address", "code"),
    [
        ("postgresql://db.internal/new", Code.TARGET_UNSAFE),
        ("postgresql:///new?host=127.0.0.1", Code.TARGET_UNSAFE),
        ("postgresql://user:word@/new", Code.USAGE),
        ("postgresql:///new?password=word", Code.USAGE),
        ("postgresql:///new?options=-c%20x", Code.USAGE),
        ("postgresql:///?host=/run", Code.USAGE),
        ("postgresql:///new?port=many", Code.USAGE),
        ("postgresql://[::1/new", Code.USAGE),
        ("/var/tmp/new", Code.USAGE),
        ("postgresql:///new?host=/nowhere", Code.TARGET_FAILED),
    ],
)
def test_an_address_that_is_no_new_database_behind_a_socket_is_refused(
    address: str, code: Code
) -> None:
    with pytest.raises(Art32Error) as caught:
        plugin.check_target(RestoreRequest(target=address, facts=FACTS))
    assert caught.value.code is code
    assert "word" not in caught.value.sentence.replace("password", "")


def test_the_engine_sees_no_network_and_no_socket_but_the_servers(
    server: PostgreSQLServer, tmp_path: Path
) -> None:
    target = parse(request(server, "one"))
    script = (
        f"ls {server.socket}/.s.PGSQL.5432 && ! ls {tmp_path} && ! ls /root && ! ls /run/user"
        " && ! ls /home && test $(grep -c : /proc/net/dev) -le 1"
    )
    done = run.run(target.confined(["sh", "-c", script], directory=None))
    assert done.returncode == 0, done.stderr
