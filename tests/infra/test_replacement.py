"""No change that is made every week destroys data, and the page that says which do is current."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from infra.config.keys import keys
from tests.fixtures.terraform import Terraform
from tests.infra import replacement

# keys that concern nothing which holds data by their nature: names, addresses, limits of others
OUTSIDE = {
    *("transferBasis", "dnsZoneId", "monthlyBudget", "releaseSha256", "webMinimum", "webMaximum"),
    *("webActive", "webCertificate", "webRequestLimit", "dbActive", "mailActive", "mailRelayHost"),
    *("mailRelayPort", "mailDelivery", "mailPort25Unblocked", "mailDkimPublicKey"),
    *("mailDmarcReports", "mailInboundMx", "backupCopyRegion", "restorerSize", "dumperSize"),
    *("breakGlassPermissionSet", "backupRecipients", "backupRoots"),
}
# an operator does these without a runbook
EVERYDAY = {
    *("amiId", "release", "webSize", "webDomain", "webStorage", "dbClass", "dbSize", "dbStorage"),
    *("dbStorage (server)", "dbStandby", "dbVersion", "dbGenerations", "webGenerations"),
    *("dbGenerations (server)", "mailGenerations", "mailSize", "mailStorage", "logDays"),
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


@pytest.mark.exhaustive
@pytest.mark.timeout(1200)
def test_the_provider_still_says_what_the_page_says(terraform: Terraform, tmp_path: Path) -> None:
    found = replacement.matrix(terraform, tmp_path)
    assert replacement.page(found) == replacement.PAGE.read_text()
    for key in EVERYDAY:
        assert not [one for one in found[key].values() if one.startswith(("REPLACED", "removed"))]
