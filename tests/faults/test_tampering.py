"""Somebody owns the store and does what they like with the newest of two backups.

Whatever it is: the state is the specified one, exit statuses and messages are right, the other
backup is still good, and nothing wrong is ever restored.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from agent.errors import ExitStatus
from tests.faults import tamper
from tests.faults.harness import SOURCE, Interpreters, Site, site
from tests.faults.tamper import Deed
from tests.faults.test_store_faults import require_clean
from tests.fixtures.keys import Keys

OK, WARNINGS = ExitStatus.OK, ExitStatus.WARNINGS
NO_BACKUP, VERIFICATION = ExitStatus.NO_BACKUP, ExitStatus.VERIFICATION


@dataclass(frozen=True)
class Expected:
    """What the store's reader says: the state, the exit statuses of `list`, of `verify --tier
    hashes` and of `restore --id`."""

    state: str
    list: int
    verify: int
    restore: int


SUSPECT = Expected("suspect", WARNINGS, VERIFICATION, VERIFICATION)
PENDING = Expected("pending", WARNINGS, VERIFICATION, VERIFICATION)
# the ledger of this machine remembers that it was complete
ABSENT = Expected("absent", WARNINGS, VERIFICATION, NO_BACKUP)
UNSEEN = Expected("", WARNINGS, VERIFICATION, NO_BACKUP)
DAMAGED = Expected("complete", OK, VERIFICATION, VERIFICATION)
NOTED = Expected("complete", WARNINGS, WARNINGS, OK)
GOOD = Expected("complete", OK, OK, OK)

DEEDS: dict[str, tuple[Deed, Expected]] = {}
for _name in ("key.pgp", "segment", "details.pgp"):
    DEEDS[f"a flipped bit in {_name}"] = (tamper.flip(_name), DAMAGED)
    DEEDS[f"{_name} of an earlier backup"] = (tamper.take_from_the_earlier(_name), DAMAGED)
for _name in (tamper.MANIFEST, tamper.SIGNATURE):
    DEEDS[f"a flipped bit in {_name}"] = (tamper.flip(_name), SUSPECT)
    DEEDS[f"{_name} of an earlier backup"] = (tamper.take_from_the_earlier(_name), SUSPECT)
# SHA256SUMS is for people without art32; a restore by art32 goes by the manifest
DEEDS["a flipped bit in SHA256SUMS"] = (
    tamper.flip("SHA256SUMS"),
    Expected("complete", OK, VERIFICATION, OK),
)
for _name in tamper.OBJECTS:
    DEEDS[f"{_name} cut by a byte"] = (tamper.cut(_name), SUSPECT)
    DEEDS[f"{_name} as large as a disk"] = (tamper.inflate(_name), SUSPECT)
    _gone = ABSENT if _name == tamper.SIGNATURE else SUSPECT
    DEEDS[f"{_name} removed"] = (tamper.remove(_name), _gone)
    DEEDS[f"{_name} a link to outside"] = (tamper.link_outside(_name), _gone)
    DEEDS[f"{_name} a pipe that nobody writes to"] = (tamper.pipe(_name), _gone)
DEEDS |= {
    "the whole backup a link to outside": (tamper.link_whole_backup, UNSEEN),
    "the last segment removed": (tamper.remove_last_segment, SUSPECT),
    "two segments with their bytes exchanged": (tamper.swap_contents, DAMAGED),
    "two segments with their numbers exchanged": (tamper.swap_numbers, SUSPECT),
    "an object that nobody signed": (tamper.plant_object, NOTED),
    "a segment that nobody signed": (tamper.plant_segment, NOTED),
    "garbage all through the store": (tamper.plant_garbage, GOOD),
    "replayed under another time": (tamper.replay("", "", "20991231T235959Z", ""), SUSPECT),
    "replayed under another id": (tamper.replay("", "", "", "0123456789abcdef"), SUSPECT),
    "replayed as another source": (tamper.replay("", "other", "", ""), SUSPECT),
    "replayed as a host without a key": (tamper.replay("nobody", "", "", ""), SUSPECT),
    "replayed as a host with another key": (tamper.replay("web1", "", "", ""), SUSPECT),
    "signed by a stranger": (tamper.resign("expired_host_before"), PENDING),
    "signed by another host": (tamper.resign("other_host"), SUSPECT),
    "a stranger's signature added": (tamper.append_signature("expired_host_before"), SUSPECT),
    "another host's signature added": (tamper.append_signature("other_host"), SUSPECT),
    "the same signature twice": (tamper.append_signature("host"), SUSPECT),
}

ABSURD: dict[str, bytes] = {
    "nothing": b"",
    "a list": b"[]",
    "a number": b"1",
    "deep nesting": b"[" * 100_000 + b"]" * 100_000,
    "deep nesting of objects": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "a number of a million digits": b'{"sequence": ' + b"9" * 1_000_000 + b"}",
    "no number": b'{"sequence": NaN}',
    "no UTF-8": b'{"host": "\xff\xfe"}',
    "half a surrogate": b'{"host": "\\ud800"}',
    "a key twice": b'{"host": "a", "host": "b"}',
    "not closed": b'{"format": "art32/backup/1"',
}
for _what, _data in ABSURD.items():
    DEEDS[f"a manifest with {_what}"] = (tamper.replace_manifest(_data), SUSPECT)
    DEEDS[f"a manifest with {_what}, signed by the host"] = (
        tamper.replace_manifest(_data, signer="host"),
        SUSPECT,
    )
for _what, _change in {
    "a newer format": lambda document: document.update(format="art32/backup/2"),
    "a field too many": lambda document: document.update(more=1),
    "a sequence of 0": lambda document: document.update(sequence=0),
    "a sequence that is text": lambda document: document.update(sequence="7"),
    "a size that is negative": lambda document: document["objects"][0].update(size=-1),
    "a size of a float": lambda document: document["objects"][0].update(size=1.5),
    "an object of another place": lambda document: document["objects"].append(
        {"name": "../../../../etc/passwd", "size": 1, "sha256": "0" * 64}
    ),
    "an object twice": lambda document: document["objects"].append(document["objects"][0]),
    "no objects": lambda document: document.update(objects=[]),
    "no segments": lambda document: document.update(
        objects=[entry for entry in document["objects"] if not entry["name"][0].isdigit()]
    ),
    "terminal control in a name": lambda document: document.update({"\x1b[2J\x07": 1}),
    "another host": lambda document: document.update(host="web1"),
    "another prefix": lambda document: document.update(prefix="elsewhere"),
    "another signer": lambda document: document.update(signer="0" * 40),
}.items():
    DEEDS[f"a manifest with {_what}, unsigned"] = (tamper.rewrite(_change), SUSPECT)
    DEEDS[f"a manifest with {_what}, signed by the host"] = (
        tamper.rewrite(_change, signer="host"),
        SUSPECT,
    )


@pytest.fixture(scope="module")
def template(keys: Keys, interpreters: Interpreters) -> Iterator[Site]:
    with site(keys, interpreters) as one:
        one.done("backup", "run")
        one.done("backup", "run")
        yield one


@pytest.fixture(scope="module")
def ids(template: Site) -> tuple[str, str]:
    """The ids of the earlier and of the newest backup."""
    earlier, newest = (entry["id"] for entry in template.backups())
    return earlier, newest


@pytest.mark.parametrize("what", DEEDS)
def test_a_tampered_backup_is_judged_rightly(
    keys: Keys, interpreters: Interpreters, template: Site, ids: tuple[str, str], what: str
) -> None:
    deed, expected = DEEDS[what]
    earlier_id, wanted = ids
    content = template.content.read_bytes()
    with site(keys, interpreters, signers=(("web1", keys.other_host),)) as one:
        one.copy_from(template)
        earlier, newest = sorted(
            one.repository.backup_directories(SOURCE), key=lambda path: path.name.endswith(wanted)
        )
        deed(newest, earlier, keys)
        listed = one.run("backup", "list", "--all-hosts")
        require_clean(listed)
        states = {entry["id"]: entry["state"] for entry in listed.data["backups"]}
        assert states.pop(earlier_id) == "complete"
        assert sorted(states.values()) == ([expected.state] if expected.state else [])
        assert listed.status == expected.list
        (found,) = states or [wanted]
        hosts = {entry["id"]: entry["host"] for entry in listed.data["backups"]}
        sources = {entry["id"]: entry["source"] for entry in listed.data["backups"]}
        there = ("--host", hosts.get(found, one.repository.host))
        if found in hosts:
            verified = one.run("backup", "verify", *there)
            require_clean(verified)
            good = {entry["id"]: entry["good"] for entry in verified.data}
            assert verified.status == expected.verify
            assert good.pop(earlier_id, True)
            # the ledger of this machine remembers the id that was wanted
            assert good == {wanted: False} | {found: expected.verify != VERIFICATION}
        source = sources.get(found, SOURCE)
        target = str(one.target)
        restored = one.run("restore", source, "--to", target, "--id", found, *there)
        assert restored.status == expected.restore, restored
        if expected.restore == OK:
            assert one.target.read_bytes() == content
        else:
            require_clean(restored)
            assert not os.path.lexists(one.target)
        for outcome in (listed, restored):
            assert "\x1b" not in outcome.stdout + outcome.stderr
            assert "\\u001b" not in outcome.stdout + outcome.stderr
        one.require_no_home()
