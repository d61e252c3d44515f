"""The settings of the scrubber that need no Pydantic are those of the configuration's section."""

from __future__ import annotations

from dataclasses import asdict

import pytest

from agent.config.logs_scrub import Scrub
from agent.config.scrubbing import Defaults, InvalidSettingError


def test_without_a_configuration_everything_is_as_with_an_empty_section() -> None:
    assert asdict(Defaults()) == Scrub().model_dump()
    assert Defaults().prefixes == Scrub().prefixes


@pytest.mark.parametrize("preset", ["default", "strict"])
@pytest.mark.parametrize("bits", [None, 0, 20])
def test_both_keep_the_same_bits(preset: str, bits: int | None) -> None:
    given = {"preset": preset, "ipv4_prefix": bits, "ipv6_prefix": bits}
    assert Defaults(**given).prefixes == Scrub.model_validate(given).prefixes  # type: ignore[arg-type]


def test_what_is_wrong_is_told_by_its_name_and_without_its_value() -> None:
    with pytest.raises(InvalidSettingError, match="holds something that is no network") as caught:
        Defaults(exempt_networks=("203.0.113.300",))
    assert caught.value.name == "exempt_networks"
    assert "203.0.113.300" not in str(caught.value)
