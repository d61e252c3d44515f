"""What the real AWS provider says of every stack: its schema and its own checks of a plan."""

from __future__ import annotations

from pathlib import Path

import pytest

from infra.terraform import configuration, convert
from tests.fixtures.terraform import Terraform
from tests.infra import cases

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("case", cases.PROFILES, ids=cases.name)
def test_the_provider_plans_every_profile(
    terraform: Terraform, tmp_path: Path, case: cases.Case
) -> None:
    conversion = convert(cases.graph(case))
    assert conversion.unmapped == []
    folder = terraform.prepare(tmp_path, configuration(cases.graph(case), conversion))
    plan = terraform.plan(folder, "-refresh=false")
    actions = {one["address"]: one["change"]["actions"] for one in plan["resource_changes"]}
    assert actions == {one.address: ["create"] for one in conversion.items}
