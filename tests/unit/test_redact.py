# ruff: noqa: E501, ISC004 - the messages stand as the programs print them
"""What real programs say when they fail: the reason stays, the people in it do not."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent import redact

CANARIES = re.compile(
    r"marta|hartmann|passport|1980|sesame|4711|hunter|192\.0|2001:db8|fe80|203\.0\.113|AKIA|wJalr"
    r"|\+49|0171",
    re.IGNORECASE,
)

# program, what it printed, a word that must stay
MESSAGES: list[tuple[str, str, str]] = [
    (
        "pg_restore: duplicate key",
        'pg_restore: error: COPY failed for table "person": ERROR:  duplicate key value violates '
        'unique constraint "person_email_key"\n'
        "DETAIL:  Key (email)=(marta@example.com) already exists.\n"
        'CONTEXT:  COPY person, line 3: "3\tMarta Hartmann\tmarta@example.com\t192.0.2.7"\n',
        "duplicate key",
    ),
    (
        "psql: row of two lines",
        'ERROR:  new row for relation "person" violates check constraint "adult"\n'
        "DETAIL:  Failing row contains (1, Marta\nHartmann, 1980-02-29, passport 4711).\n",
        "check constraint",
    ),
    (
        "pg_restore: command of many lines",
        "pg_restore: error: could not execute query: ERROR:  role missing\n"
        "Command was: INSERT INTO person VALUES (1, 'Marta',\n"
        "    'Hartmann', '1980-02-29');\n\n\n",
        "role missing",
    ),
    ("psql: date", 'ERROR:  date/time field value out of range: "1980-02-31"\n', "out of range"),
    (
        "psql: integer",
        'psql:<stdin>:12: ERROR:  invalid input syntax for type integer: "Marta Hartmann"\n'
        'CONTEXT:  COPY person, line 1, column id: "Marta Hartmann"\n',
        "invalid input syntax",
    ),
    ("psql: enumeration", 'ERROR:  invalid input value for enum mood: "Marta"\n', "enum"),
    ("psql: range", 'ERROR:  value "4711471147114711" is out of range for type integer\n', "range"),
    ("psql: array", 'ERROR:  malformed array literal: "{Marta,Hartmann"\n', "array"),
    ("psql: json", 'ERROR:  invalid input syntax for type json\nDETAIL:  Token "Marta" is invalid.\n'
     "CONTEXT:  JSON data, line 1: Marta Hartmann\n", "json"),
    (
        "psql: statement",
        'ERROR:  syntax error at or near "Marta"\nLINE 1: Marta Hartmann\t1980-02-29\n        ^\n',
        "syntax error",
    ),
    ("psql: backslash", "psql:<stdin>:3: error: invalid command \\Marta\n", "invalid command"),
    (
        "pg_dump: connection",
        'pg_dump: error: connection to server at "192.0.2.7", port 5432 failed: FATAL:  password '
        'authentication failed for user "art32"\n',
        "password authentication failed",
    ),
    (
        "pg_dump: connection over IPv6",
        'pg_dump: error: connection to server at "db" (2001:db8::4711), port 5432 failed: timeout\n',
        "timeout",
    ),
    (
        "pg_dump: query",
        "pg_dump: error: query failed: ERROR:  permission denied for table person\n"
        "pg_dump: detail: Query was: COPY public.person (marta) TO stdout;\n",
        "permission denied",
    ),
    (
        "pg_dump: address of a database",
        "pg_dump: error: could not parse postgresql://marta:sesame@192.0.2.7/app?sslmode=require\n",
        "could not parse",
    ),
    ("mysql: duplicate", "ERROR 1062 (23000) at line 5: Duplicate entry 'marta@example.com' for key "
     "'email'\n", "Duplicate entry"),
    ("mysql: duplicate phone", "ERROR 1062 (23000) at line 5: Duplicate entry '+49 171 4711' for key "
     "'phone'\n", "Duplicate entry"),
    ("mysql: syntax", "ERROR 1064 (42000) at line 3: You have an error in your SQL syntax; check the "
     "manual for the right syntax to use near ''Marta Hartmann','1980-02-29')' at line 1\n",
     "SQL syntax"),
    ("mysql: date", "ERROR 1292 (22007) at line 3: Incorrect date value: '1980-02-31' for column "
     "`app`.`person`.`birth` at row 1\n", "Incorrect date value"),
    ("mysql: bytes", "ERROR 1366 (22007): Incorrect string value: '\\xE4Hartmann' for column\n",
     "Incorrect string value"),
    ("mysqldump: access", "mysqldump: Got error: 1045: \"Access denied for user 'art32'@'192.0.2.7' "
     "(using password: YES)\" when trying to connect\n", "Access denied"),
    ("tar: a file", "tar: ./uploads/Marta Hartmann/passport.jpg: Cannot open: Permission denied\n"
     "tar: Exiting with failure status due to previous errors\n", "Permission denied"),
    ("tar: a changed file", "tar: uploads/marta: file changed as we read it\n", "file changed"),
    ("tar: a vanished file", "/usr/bin/tar: ./marta:hartmann: File removed before we read it\n",
     "File removed"),
    ("tar: creation", "tar: marta: Cannot create symlink to 'passport': File exists\n", "File exists"),
    ("gpg: a recipient", 'gpg: encrypted with 3072-bit RSA key, ID 0123, created 2024-01-01\n'
     '      "Marta Hartmann <marta@example.com>"\n', "gpg"),
    ("gpg: a signature", 'gpg: Good signature from "Marta Hartmann <marta@example.com>" [unknown]\n',
     "signature"),
    ("gpg: a user id in quotes", 'gpg: Good signature from "Marta "the boss" Hartmann"\n', "signature"),
    ("gpg: a search", "gpg: error retrieving 'marta@example' via WKD: No data\n", "No data"),
    ("any: environment", "PGPASSWORD=sesame pg_dump failed\n", "failed"),
    ("any: option", "usage: --password=sesame --token: sesame failed\n", "failed"),
    ("any: json", '{"password": "open sesame hunter2", "x": 1} failed\n', "failed"),
    ("any: S3 keys", "AKIAIOSFODNN7EXAMPLE refused secret_access_key = wJalrXUtnFEMIK7MDENG\n",
     "refused"),
    ("any: bearer", "Authorization: Bearer sesame.hunter2-4711 refused\n", "refused"),
    ("any: addresses", "refused 203.0.113.9 and fe80::1ff:fe23:4567:890a%eth0 and 2001:db8::1\n",
     "refused"),
    ("any: mail without a dot", "cannot deliver to marta@localhost today\n", "cannot deliver"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "said", "stays"), MESSAGES, ids=[one[0] for one in MESSAGES])
def test_nobody_is_left_in_a_diagnostic(name: str, said: str, stays: str) -> None:
    shown = redact.diagnostic(said.encode())
    assert not CANARIES.search(shown), shown
    assert stays in shown


CONTINUED = ("psql: row of two lines", "pg_restore: command of many lines", "psql: json")


@pytest.mark.parametrize("said", [one[1] for one in MESSAGES if one[0] not in CONTINUED])
def test_nobody_is_left_in_any_single_line(said: str) -> None:
    for line in (line for line in said.splitlines() if redact.diagnostic(line.encode())):
        assert not CANARIES.search(redact.line(line)), redact.line(line)


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ('ERROR:  relation "person" does not exist', 'ERROR:  relation "person" does not exist'),
        ('FATAL:  database "app" does not exist', 'FATAL:  database "app" does not exist'),
        ('FATAL:  role "art32" does not exist', 'FATAL:  role "art32" does not exist'),
        (
            "ERROR 1049 (42000): Unknown database 'shop'",
            "ERROR 1049 (42000): Unknown database 'shop'",
        ),
        ("tar: Exiting with failure status", "tar: Exiting with failure status"),
        (
            "zstd: error 25 : Write error : No space left",
            "zstd: error 25 : Write error : No space left",
        ),
        ("gpg: decryption failed: No secret key", "gpg: decryption failed: No secret key"),
    ],
)
def test_what_an_administrator_needs_stays(said: str, shown: str) -> None:
    assert redact.line(said) == shown


@given(st.binary(max_size=2000))
@settings(max_examples=200, deadline=None)
def test_any_bytes_become_short_printable_text(stderr: bytes) -> None:
    shown = redact.diagnostic(stderr)
    assert len(shown) <= 2 * redact.LIMIT + 2
    assert not any((ord(c) < 0x20 and c != "\t") or 0x7F <= ord(c) < 0xA0 for c in shown)
    assert not set(shown) & set(
        "\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
    )


@pytest.mark.parametrize(
    "piece", ["a", "a.", "1:", "f:", "'", '"', "=(", "a@", "http://", "password=", "A1", " ", "\t"]
)
def test_a_very_long_line_is_masked_at_once(piece: str) -> None:
    shown = redact.line(piece * (200_000 // len(piece)))
    assert len(shown) <= redact.LIMIT


def test_a_value_that_the_cut_goes_through_is_masked() -> None:
    for pad in range(3900, 4200, 7):
        shown = redact.line("https://" + "x" * pad + " refused 'Marta Hartmann' marta@example.com")
        assert not CANARIES.search(shown), shown


def test_only_the_chosen_lines_are_shown_where_lines_are_chosen() -> None:
    said = b"note: marta\nFATAL: no\nnote: x\nFATAL: never\nFATAL: third\n"
    assert redact.diagnostic(said, keep=re.compile("^FATAL")) == "FATAL: no; FATAL: never"


def test_silence_is_an_empty_string() -> None:
    assert redact.diagnostic(b"") == redact.diagnostic(b"\n  \nDETAIL:  Marta\n") == ""
