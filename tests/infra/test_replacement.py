"""No change that is made every week destroys data, and the page that says which do is current."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from infra.config.keys import keys
from infra.plan.comparison import REPLACING
from infra.terraform import load
from infra.terraform.names import keys as keys_of
from infra.terraform.names import terraform_type
from tests.fixtures.terraform import Terraform
from tests.infra import replacement

# keys that concern nothing which holds data by their nature: names, addresses, limits of others
OUTSIDE = {
    *("transferBasis", "dnsZoneId", "monthlyBudget", "releaseSha256", "webMinimum", "webMaximum"),
    *("webActive", "webCertificate", "webRequestLimit", "dbActive", "mailActive", "mailRelayHost"),
    *("mailRelayPort", "mailDelivery", "mailPort25Unblocked", "mailDkimPublicKey"),
    *("mailDmarcReports", "mailInboundMx", "backupCopyRegion", "restorerSize", "dumperSize"),
    *("breakGlassPermissionSet", "backupRecipients", "backupRoots", "rollbar"),
}
# an operator does these without a runbook
EVERYDAY = {
    *("amiId", "release", "webSize", "webDomain", "webStorage", "dbClass", "dbSize", "dbStorage"),
    *("dbStorage (server)", "dbStandby", "dbVersion", "dbGenerations", "webGenerations"),
    *(
        "dbGenerations (new major)",
        "dbGenerations (server)",
        "mailGenerations",
        "mailSize",
        "mailStorage",
        "logDays",
    ),
    *("backupDays", "backupLockDays", "breakGlassUsers", "keeperSize", "restorerCount"),
    *("alarmEmail", "interfaceEndpoints", "organizationTrail", "zones (one more)", "profile"),
    *("nothing", "nothing (server)"),
}


def test_every_key_is_in_the_matrix_or_outside_of_it_for_a_reason() -> None:
    told = {key.split(" ")[0] for key, _, _ in replacement.CHANGES} - {"nothing"}
    assert told | OUTSIDE | set(replacement.FIXED) == set(keys())
    assert told & OUTSIDE == set()


def test_the_page_says_of_no_everyday_change_that_it_destroys() -> None:
    rows = dict(re.findall(r"^\| `([^`]+)` \| (.*) \|$", replacement.PAGE.read_text(), re.M))
    assert len(rows) == len(replacement.CHANGES) - 2
    destroying = {key for key, effects in rows.items() if re.search(r"replaced|removed", effects)}
    assert destroying & EVERYDAY == set()
    # the page can say so
    assert {"region", "dbForm", "mailForm"} <= destroying


def effects(word: str) -> set[tuple[str, str]]:
    """Return what the provider has said on the page: Terraform's type and key of an effect."""
    found = set()
    for told in re.findall(rf"\*\*{word}\*\*: ([^;|]*)", replacement.PAGE.read_text()):
        for kind, keys_ in re.findall(r"(\w+) `[^`]+` \(([^)]*)\)", told):
            found |= {(f"aws_{kind}", key) for key in keys_.split(", ")}
    return found


def test_the_plan_page_knows_what_the_provider_has_said_of_replacements() -> None:
    schema = load()
    known, unused = set(), set()
    for kind, properties in REPLACING.items():
        module, name = kind.split(":")[1:]
        token = f"aws:{module}/{name[0].lower()}{name[1:]}:{name}"
        type_ = terraform_type(token, schema)
        assert type_ is not None, kind
        for one in properties:
            key = next((key for key in keys_of(type_, one) if key in schema[type_].attributes), "")
            if key:
                known.add((type_, key))
            else:
                unused.add(one)
    # a block that this program never uses is not in the extract of the provider's schema
    assert unused == {"restoreToPointInTime"}
    replaced, changed = effects("replaced"), effects("changed")
    assert replaced
    assert changed
    # the key of a database and of a vault, the name of a bucket
    assert replaced <= known
    assert changed & known == set()


@pytest.mark.exhaustive
@pytest.mark.timeout(1200)
def test_the_provider_still_says_what_the_page_says(terraform: Terraform, tmp_path: Path) -> None:
    found = replacement.matrix(terraform, tmp_path)
    assert replacement.page(found) == replacement.PAGE.read_text()
    for key in EVERYDAY:
        assert not [one for one in found[key].values() if one.startswith(("REPLACED", "removed"))]
