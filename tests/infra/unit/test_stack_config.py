"""A stack's configuration: what is refused, in which words, and what mends it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from infra.config import ConfigError, Generation, parse, parse_file
from infra.config.keys import Key, keys
from infra.config.profiles import PROFILES, defaults
from tests.fixtures.stacks import HA, MAIL_SERVER, MINIMUM, SOVEREIGN, stack, values


def problems(name: str = "prod", /, **changes: object) -> dict[str, str]:
    """Return what is wrong, by key; each problem brings a command."""
    with pytest.raises(ConfigError) as caught:
        parse(name, values(**changes))
    assert all(problem.mend.startswith("pulumi ") for problem in caught.value.problems)
    return {problem.key: problem.sentence for problem in caught.value.problems}


def test_all_mistakes_are_told_at_once_and_each_brings_its_mend() -> None:
    with pytest.raises(ConfigError) as caught:
        parse(
            "prod",
            values(
                accountId="12",
                region="us-east-1",
                zones=["us-east-1a"],
                dbForm="oracle",
                dbGenerations=["g1", "g2"],
                webMinimum=9,
                zonez="x",
                alarmEmail=None,
            ),
        )
    text = str(caught.value)
    assert text.splitlines()[0] == "the configuration of stack `prod` has 8 mistakes"
    assert "`accountId` has the wrong form" in text
    assert "`transferBasis` is missing: `us-east-1` lies outside of the EU" in text
    assert "`zones` has fewer than 2 entries" in text
    assert "`dbForm` is none of `rds` or `server`" in text
    assert "`webMinimum` is not between 1 and `webMaximum`, 2" in text
    assert "`alarmEmail` is missing: who is woken" in text
    assert "`zonez` is no key of this project: `zones`?" in text
    assert "    hint: pulumi config set alarmEmail 'oncall@example.org'" in text
    assert "Traceback" not in text


def test_an_empty_configuration_names_every_key_that_is_needed() -> None:
    with pytest.raises(ConfigError) as caught:
        parse("prod", {})
    missing = {problem.key for problem in caught.value.problems}
    assert missing == set(MINIMUM)


@pytest.mark.parametrize("key", keys().values(), ids=lambda key: key.name)
def test_every_key_has_a_meaning_and_an_example_that_is_valid(key: Key) -> None:
    assert len(key.description) > 10
    assert key.description.endswith(".")
    key.validate(key.example)


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("architecture", ["arm64", "amd64"])
def test_the_defaults_of_a_profile_are_valid_values_of_known_keys(
    profile: str, architecture: str
) -> None:
    for name, value in defaults(profile, architecture, ephemeral=False).items():
        keys()[name].validate(value)


def test_logs_are_kept_for_as_many_days_as_cloudwatch_knows() -> None:
    for days in (1, 3, 5, 7, 14, 30):
        assert stack(logDays=days).log_days == days
    for days in (2, 10, 29, 60):
        assert "logDays" in problems(logDays=days)


def test_values_may_be_what_pulumi_makes_of_them() -> None:
    told = {
        name: json.dumps(value) if isinstance(value, list) else str(value)
        for name, value in values(webMinimum=2, ephemeral="true").items()
    }
    config = parse("test", told)
    assert (config.web.minimum, config.ephemeral) == (2, True)
    assert config.zones == ("eu-central-1a", "eu-central-1b")
    assert parse("prod", values(accountId=123456789012)).account_id == "123456789012"


def test_defaults_that_pulumi_needs_for_a_type_mean_not_set() -> None:
    empty = {"array": [], "string": "", "integer": 0, "boolean": False}
    undeclared = {name: empty[key.type] for name, key in keys().items()}
    assert parse("prod", {**undeclared, **MINIMUM}) == stack()


def test_a_key_that_is_set_wins_over_its_profile() -> None:
    assert stack(**HA).db.class_ == "db.m7g.large"
    assert stack(**HA, dbClass="db.r7g.large").db.class_ == "db.r7g.large"


def test_personal_data_stays_in_the_eu_unless_a_legal_basis_is_named() -> None:
    for region in ("us-east-1", "eu-west-2", "eu-central-2"):
        zones = [f"{region}a", f"{region}b"]
        assert "transferBasis" in problems(region=region, zones=zones)
        basis = "Art. 45: adequacy decision"
        assert stack(region=region, zones=zones, transferBasis=basis).region == region


def test_copies_stay_in_the_eu_in_another_region_of_the_same_partition() -> None:
    assert "outside of the EU" in problems(backupCopyRegion="us-east-1")["backupCopyRegion"]
    assert "the region itself" in problems(backupCopyRegion="eu-central-1")["backupCopyRegion"]
    assert "partition" in problems(backupCopyRegion="eusc-de-east-1")["backupCopyRegion"]
    assert "two regions" in problems(profile="ha")["backupCopyRegion"]


def test_the_sovereign_cloud_is_a_partition_of_its_own() -> None:
    config = stack(**SOVEREIGN)
    assert (config.partition, config.dns_suffix) == ("aws-eusc", "amazonaws.eu")
    assert "does not hold" in problems(partition="aws-eusc")["partition"]


def test_a_new_major_version_is_a_new_generation_of_the_managed_database_alone() -> None:
    config = stack(dbGenerations=["g1", "g2/18=app-before-18"], dbActive="g2")
    assert config.db.generations[1] == Generation(2, None, "app-before-18", "18")
    said = problems(dbForm="server", dbGenerations=["g1", "g2/16=snap-0123456789abcdef0"])
    assert "only a managed database" in said["dbGenerations"]
    assert "wrong form" in problems(dbVersion="13")["dbVersion"]
    assert "is not of the form" in problems(dbGenerations=["g1/13"])["dbGenerations"]


def test_a_generation_beyond_the_first_needs_a_snapshot() -> None:
    assert "would begin empty" in problems(dbGenerations=["g1", "g2"])["dbGenerations"]
    config = stack(dbGenerations=["g1", "g2=rds:app-2026-11-23"], dbActive="g2")
    assert config.db.generations[1] == Generation(2, None, "rds:app-2026-11-23")
    volume = stack(dbForm="server", dbGenerations=["g1", "g2@eu-central-1b=snap-0123456789abcdef0"])
    assert volume.db.generations[1].zone == "eu-central-1b"


def test_an_active_generation_exists_and_names_are_unique() -> None:
    assert "is not among" in problems(dbActive="g3")["dbActive"]
    assert "twice" in problems(dbGenerations=["g1", "g1"])["dbGenerations"]
    assert "zones" in problems(webGenerations=["g1@eu-west-1a"])["webGenerations"]
    assert (
        "snapshot of a volume"
        in problems(webGenerations=["g2=rds:x"], webActive="g2")["webGenerations"]
    )


def test_one_volume_serves_one_webserver() -> None:
    assert "must be 1" in problems(webData="volume")["webMaximum"]
    assert stack(webData="volume", webMaximum=1).web.data == "volume"
    assert (
        "refused by `ha`" in problems(**HA, webData="volume", webMinimum=1, webMaximum=1)["webData"]
    )


def test_a_mail_server_needs_a_smarthost_or_an_open_port() -> None:
    assert "mailRelayHost" in problems(mailForm="server")
    assert "mailPort25Unblocked" in problems(mailForm="server", mailDelivery="direct")
    assert stack(**MAIL_SERVER).duties == ("web", "dumper", "mail", "keeper", "restorer")


def test_a_machine_runs_the_architecture_that_is_configured() -> None:
    assert "does not run `arm64`" in problems(webSize="t3.small")["webSize"]
    assert stack(architecture="amd64").web.size == "t3.small"
    assert (
        "does not run `amd64`"
        in problems(architecture="amd64", keeperSize="m7g.large")["keeperSize"]
    )


def test_a_production_stack_is_never_ephemeral() -> None:
    for name in ("prod", "production", "eu-prod"):
        assert "is refused" in problems(name, ephemeral=True)["ephemeral"]
    config = stack("test", ephemeral=True)
    assert config.backup.lock_days == 1


def test_a_lock_never_outlives_the_retention() -> None:
    assert "is more than" in problems(backupDays=14)["backupLockDays"]
    assert stack(backupDays=14, backupLockDays=7).backup.days == 14


def test_a_stack_name_fits_into_names_of_buckets() -> None:
    assert "stands in names" in problems("Prod_1")[""]


def test_somebody_can_break_the_glass() -> None:
    assert "breakGlassUsers" in problems(breakGlassUsers=None)
    config = stack(breakGlassUsers=None, breakGlassPermissionSet="BreakGlass")
    assert config.break_glass.permission_set == "BreakGlass"


def test_a_stack_file_is_read_without_pulumi(tmp_path: Path) -> None:
    lines = "\n".join(f"  art32:{name}: {json.dumps(value)}" for name, value in MINIMUM.items())
    file = tmp_path / "Pulumi.prod.yaml"
    file.write_text(f"config:\n  aws:region: eu-west-9\n{lines}\n")
    assert parse_file(file, "prod") == stack()


@pytest.mark.parametrize("text", [b"config: [", b"\xff", b"", b"- x", b"config: 3"])
def test_a_stack_file_that_is_rubbish_is_one_clear_error(tmp_path: Path, text: bytes) -> None:
    file = tmp_path / "Pulumi.prod.yaml"
    file.write_bytes(text)
    with pytest.raises(ConfigError, match="one mistake"):
        parse_file(file, "prod")
    with pytest.raises(ConfigError, match="cannot be read"):
        parse_file(tmp_path / "missing.yaml", "prod")
