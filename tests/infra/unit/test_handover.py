"""What a stack hands to its machines: the agent and the distribution's programs take every part."""

from __future__ import annotations

import configparser
import itertools
import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from agent.backup.drill import noted
from agent.config.load import load
from agent.config.sources import PostgreSQLSource
from agent.errors import Art32Error
from infra import agent_file, host_files, host_guard, naming, rights, user_data
from infra.config import InfraConfig
from tests.fixtures.stacks import HA, MAIL_SERVER, RELEASE, SOVEREIGN, stack

ROOT = Path(__file__).parent.parent.parent.parent
SHARE = ROOT / "agent" / "share"
PATH = f"{os.environ['PATH']}:/usr/sbin:/sbin"
MANAGED = stack(**RELEASE)
SERVERS = stack(
    **MAIL_SERVER, **RELEASE, dbForm="server", webData="volume", webMaximum=1, rollbar=True
)
MACHINES = [
    *(pytest.param(SERVERS, duty, id=duty) for duty in SERVERS.duties),
    pytest.param(MANAGED, "dumper", id="dumper"),
    pytest.param(stack(**{**HA, **RELEASE}), "web", id="web-ha"),
    pytest.param(stack(**SOVEREIGN, **RELEASE), "keeper", id="keeper-sovereign"),
]


def needs(program: str, package: str) -> pytest.MarkDecorator:
    found = shutil.which(program, path=PATH)
    return pytest.mark.skipif(found is None, reason=f"`{program}` of {package} is not installed")


def run(*words: str, text: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        words,
        input=text,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PATH": PATH},
    )


def sections(path: Path) -> configparser.ConfigParser:
    """Read a unit; of a key that is given several times the last one counts here."""
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(path.read_text())
    return parser


def sections_of(unit: str, key: str) -> str:
    """Return all values of a key of a unit, in one line."""
    text = (SHARE / "systemd" / unit).read_text()
    return " ".join(re.findall(rf"^{key}=(.*)$", text, re.M))


def template(unit: str) -> str:
    return re.sub(r"@[^.]*\.", "@.", unit)


@needs("cloud-init", "cloud-init")
@pytest.mark.parametrize(("config", "duty"), MACHINES)
def test_cloud_init_takes_the_user_data(config: InfraConfig, duty: str, tmp_path: Path) -> None:
    volume = user_data.DataVolume("", "/srv", blank=True, attach=True)
    file = tmp_path / "user-data"
    file.write_text(user_data.text(config, duty, volume, "vol-0123456789abcdef0"))
    done = run("cloud-init", "schema", "--config-file", str(file))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("Valid cloud-config")


@needs("cloud-init", "cloud-init")
def test_cloud_init_refuses_what_it_does_not_know(tmp_path: Path) -> None:
    file = tmp_path / "user-data"
    volume = user_data.DataVolume("", "", blank=False)
    text = user_data.text(MANAGED, "web", volume, "")
    file.write_text(text.replace('permissions: "0600"', "permission: 0600"))
    assert run("cloud-init", "schema", "--config-file", str(file)).returncode == 1


@pytest.mark.parametrize(("config", "duty"), MACHINES)
def test_the_agent_takes_its_configuration(config: InfraConfig, duty: str, tmp_path: Path) -> None:
    file = tmp_path / "agent.toml"
    file.write_text(agent_file.render(config, duty))
    assert load(file) == agent_file.configuration(config, duty)
    assert load(file).host == duty


def test_the_command_line_takes_the_configuration_of_a_database(tmp_path: Path) -> None:
    file = tmp_path / "agent.toml"
    file.write_text(agent_file.render(SERVERS, "db"))
    command = [shutil.which("art32") or str(ROOT / ".venv/bin/art32"), "--config", str(file)]
    done = run(*command, "config", "check")
    assert (done.returncode, done.stderr) == (0, "")
    file.write_text(file.read_text().replace("[signing]", "[singing]"))
    assert run(*command, "config", "check").returncode == 78


def test_what_the_agent_would_refuse_does_not_get_past_the_preview() -> None:
    broken = SERVERS.model_copy(
        update={"backup": SERVERS.backup.model_copy(update={"recipients": ("a=" + "A" * 40,) * 2})}
    )
    with pytest.raises(Art32Error, match=r"agent\.toml of web"):
        agent_file.render(broken, "web")


def test_only_the_dumper_learns_the_database_s_address() -> None:
    for duty in MANAGED.duties:
        texts = host_files.files(MANAGED, duty, "db.example.org").values()
        assert any("db.example.org" in text for text in texts) == (duty == "dumper"), duty


@pytest.mark.parametrize(("config", "duty"), MACHINES)
def test_every_unit_that_is_enabled_or_watched_exists(config: InfraConfig, duty: str) -> None:
    units = SHARE / "systemd"
    enabled = agent_file.enabled_units(config, duty)
    assert "art32-health.timer" in enabled
    for unit in enabled:
        assert (units / template(unit)).is_file(), unit


def test_each_duty_runs_only_what_it_is_for() -> None:
    def own(duty: str) -> set[str]:
        found = agent_file.enabled_units(SERVERS, duty)
        common = {"art32-health.timer", "art32-health-publish.timer"}
        common |= {"art32-report-drain.timer"} if duty != "restorer" else set()
        assert common <= set(found)
        return set(found) - common

    writer = {"art32-enrol.timer", "art32-doctor.timer"}
    writer |= {"art32-logs-rotate.timer", "art32-logs-digest.timer"}
    assert own("web") == {*writer, "art32-backup-directory@data.timer"}
    assert own("db") == {
        *writer,
        "art32-backup-postgresql@databases.timer",
        "art32-backup-basebackup@server.timer",
        "art32-wal.socket",
    }
    assert own("mail") == writer
    assert own("keeper") == {
        "art32-ages.timer",
        *("art32-prune.timer", "art32-logs-prune.timer"),
        *("art32-verify@web.timer", "art32-verify@db.timer"),
    }
    assert own("restorer") == {
        *("art32-drill@web.timer", "art32-drill@db.timer", "art32-drill-engine.socket"),
    }
    dumper = set(agent_file.enabled_units(MANAGED, "dumper"))
    assert "art32-backup-postgresql@app.timer" in dumper
    assert "art32-logs-rotate.timer" not in dumper


@pytest.mark.parametrize(("config", "duty"), MACHINES)
def test_the_metadata_service_answers_the_users_of_the_units_that_need_it(
    config: InfraConfig, duty: str
) -> None:
    users = set()
    for unit in agent_file.enabled_units(config, duty):
        service = re.sub(r"\.(timer|socket)$", ".service", template(unit))
        found = sections(SHARE / "systemd" / service)["Service"]
        if "IPAddressDeny" not in found and found.get("User", "root") != "root":
            users.add(found["User"])
    allowed = set(host_guard.METADATA_USERS[duty])
    users.discard("art32-report")  # it talks to Rollbar, and AWS is nothing to it
    # a stateless web server has no directory to back up
    assert users <= allowed
    assert allowed - users <= {"art32-files"}
    declared = (SHARE / "sysusers.d" / "art32.conf").read_text()
    for user in allowed:
        assert re.search(rf"^u {user} ", declared, re.M), user


@pytest.mark.parametrize(("config", "duty"), MACHINES)
def test_the_role_may_fetch_and_write_what_the_files_name(config: InfraConfig, duty: str) -> None:
    may = str(list(rights.of(config, duty)))
    found = agent_file.configuration(config, duty)
    assert found.store.kind == "s3"
    assert f"{found.store.bucket}/{found.store.prefix}/" in may
    if found.service.role == "writer":
        assert f"/{found.store.prefix}/{found.host}/*" in may
        assert f"/{found.store.prefix}/logs/{found.host}/*" in may
    assert "shared/*" in may  # packages and public keys
    assert str(found.service.cloudwatch_namespace) in may


@pytest.mark.parametrize(("config", "duty"), MACHINES)
def test_every_public_key_that_the_configuration_names_is_fetched(
    config: InfraConfig, duty: str
) -> None:
    files = host_files.files(config, duty)
    named = set(re.findall(r'key_file = "([^"]+\.asc)"', files["etc/art32/agent.toml"]))
    fetched = files["etc/art32/public-keys.list"].split()
    assert named == {f"/etc/art32/public-keys/{one}.asc" for one in fetched}
    assert named


@pytest.mark.parametrize(("config", "duty"), MACHINES)
def test_no_file_holds_a_secret_or_lies_outside_of_etc(config: InfraConfig, duty: str) -> None:
    for path, text in host_files.files(config, duty).items():
        assert path.startswith("etc/")
        assert ".." not in path
        assert text.endswith("\n")
        assert not re.search(r"PRIVATE KEY|AKIA|password\s*=\s*\S", text), path


def test_the_dumper_logs_in_by_a_token_and_only_verified() -> None:
    (source,) = agent_file.configuration(MANAGED, "dumper").sources
    assert isinstance(source, PostgreSQLSource)
    assert (source.rds_iam_region, source.user) == (MANAGED.region, agent_file.BACKUP_USER)
    assert source.password_file is None
    assert str(source.ssl_root_certificate) == agent_file.RDS_CERTIFICATES


def test_a_database_server_archives_its_log_with_a_key_of_the_service_s_own() -> None:
    found = agent_file.configuration(SERVERS, "db")
    assert found.wal is not None
    assert found.wal.signing is not None
    assert found.signing is not None
    assert found.wal.signing.key_file != found.signing.key_file
    # as the unit names it
    service = sections_of("art32-wal.service", "LoadCredential")
    assert found.wal.signing.key_file.name in service
    settings = host_files.files(SERVERS, "db")["etc/art32/postgresql.conf"]
    assert "archive_command = '/usr/bin/art32 wal push %p'" in settings
    assert str(found.wal.socket) in (SHARE / "systemd" / "art32-wal.socket").read_text()
    # without an agent nothing takes the log, and it would fill the disk
    bare = stack(dbForm="server")
    assert "archive" not in host_files.files(bare, "db")["etc/art32/postgresql.conf"]


def test_each_role_of_the_database_is_made_and_let_in() -> None:
    users = host_files.postgresql_users()
    made = re.findall(r"CREATE ROLE (\w+)", user_data.SCRIPT.read_text())
    config = agent_file.configuration(SERVERS, "db")
    wanted = {one.user for one in config.sources if hasattr(one, "user")}
    assert config.wal is not None
    wanted.add(config.wal.monitor)
    assert wanted == set(made)
    for role in wanted:
        assert re.search(rf"^art32  art32-\w+  {role}$", users, re.M), role
    # who looks at the server's health sees no data
    assert re.findall(r"^art32  art32-health  (\w+)$", users, re.M) == [config.wal.monitor]
    assert f"GRANT pg_read_all_data TO {agent_file.BACKUP_USER};" in user_data.SCRIPT.read_text()


def test_the_keeper_expects_every_source_and_alone_has_its_namespace() -> None:
    for config in (SERVERS, MANAGED):
        keeper = agent_file.configuration(config, "keeper").service
        sources = [
            f"{duty}/{source.name}"
            for duty in config.duties
            for source in agent_file.configuration(config, duty).sources
        ]
        assert list(keeper.expected) == sources
        assert keeper.keeper_namespace == naming.metric_namespace(config)
        for duty in config.duties:
            may = str(list(rights.of(config, duty)))
            other = agent_file.configuration(config, duty).service.keeper_namespace
            assert (f"'{naming.metric_namespace(config)}'" in may) == (duty == "keeper"), duty
            assert (other is not None) == (duty == "keeper"), duty


def test_the_restorer_drills_where_its_unit_may_write_and_notes_where_its_role_may() -> None:
    found = agent_file.configuration(SERVERS, "restorer").drill
    assert found.note
    writable = sections_of("art32-drill@.service", "ReadWritePaths")
    assert any(found.directory.is_relative_to(one.lstrip("-")) for one in writable.split())
    assert re.search(
        rf"^d {re.escape(str(found.directory))} ",
        (SHARE / "tmpfiles.d" / "art32.conf").read_text(),
        re.M,
    )
    assert f"/{SERVERS.stack}/{noted.DIRECTORY}*" in str(list(rights.of(SERVERS, "restorer")))


def test_who_reports_may_read_the_token_that_its_configuration_names() -> None:
    for duty in SERVERS.duties:
        report = agent_file.configuration(SERVERS, duty).report
        listed = [one.split() for one in host_files.secrets(SERVERS, duty)]
        files = {line[0]: line[3] for line in listed}
        assert (report.token_file is not None) == (duty != "restorer"), duty
        if report.token_file is not None:
            assert files[str(report.token_file)] == "art32-prod-rollbar"
            assert (SHARE / "systemd" / listed[0][2]).is_file()
    assert agent_file.configuration(MANAGED, "web").report.token_file is None
    assert host_files.secrets(MANAGED, "web") == ()


def test_a_newer_database_is_dumped_by_programs_as_new() -> None:
    files = host_files.files(MANAGED, "dumper")
    assert files["etc/art32/packages.list"] == "postgresql-client-17\n"
    source = files["etc/apt/sources.list.d/pgdg.sources"]
    # Debian's own package brings the key
    key = re.findall(r"^Signed-By: (\S+)$", source, re.M)
    assert key == ["/usr/share/postgresql-common/pgdg/apt.postgresql.org.asc"]
    assert "postgresql-common" in user_data.PACKAGES["dumper"].split()
    assert "apt.postgresql.org" in files["etc/apt/apt.conf.d/52art32-upgrades"]
    debian = stack(**RELEASE, dbVersion="15")
    assert not {"etc/art32/packages.list", "etc/apt/sources.list.d/pgdg.sources"} & set(
        host_files.files(debian, "dumper")
    )


def test_toml_keeps_what_could_be_taken_for_syntax() -> None:
    address = 'a"b\\c\n[x]'
    document = tomllib.loads(agent_file.render(MANAGED, "dumper", address))
    assert document["sources"][0]["host"] == address.strip()


@needs("auditctl", "auditd")
@needs("unshare", "util-linux")
def test_auditctl_reads_every_rule() -> None:
    def said(rule: str) -> str:
        # in a user namespace it reads the rule and then finds no audit to send it to
        done = run("unshare", "--user", "--map-root-user", "auditctl", *rule.split())
        return (done.stdout + done.stderr).strip()

    fine = "The audit system is disabled"
    if said("-w /etc/passwd -p wa -k x") != fine:
        pytest.skip("user namespaces are not to be had here: auditctl would reach this kernel")
    rules = [line for line in host_guard.audit_rules().splitlines() if line]
    # of a setting it says nothing when the kernel does not take it
    assert [rule for rule in rules if said(rule) != (fine if rule[1] in "aw" else "")] == []
    assert "must be 0, 1, or 2" in said("-f 9")
    assert "unknown" in said("-a always,exit -F arch=b64 -S nosuchcall -k x")


@needs("apt-config", "apt")
@pytest.mark.parametrize("duty", ["web", "db", "mail", "keeper", "dumper"])
def test_apt_reads_the_window_for_restarts(duty: str, tmp_path: Path) -> None:
    file = tmp_path / "52art32-upgrades"
    file.write_text(host_guard.upgrades(duty))
    done = run("env", f"APT_CONFIG={file}", "apt-config", "dump")
    assert done.returncode == 0, done.stderr
    assert "Debian-Security" in done.stdout
    origins = re.findall(r"Origins-Pattern:: \"(.*)\"", done.stdout)
    assert origins
    assert "origin=Debian,codename=${distro_codename},label=Debian-Security" in origins
    (time,) = re.findall(r'Automatic-Reboot-Time "(.*)"', done.stdout)
    assert time == host_guard.reboot_times(stack(), duty)["eu-central-1a"]


def test_windows_for_restarts_never_overlap_and_end_before_the_backups() -> None:
    config = stack(**{**HA, **RELEASE})
    times = sorted(
        time
        for duty in host_guard.REBOOT_MINUTES
        for time in (
            host_guard.reboot_times(config, duty).values()
            if duty == "web"  # all others are one machine
            else [host_guard.reboot_times(config, duty)[config.zones[0]]]
        )
    )
    minutes = [int(time[:2]) * 60 + int(time[3:]) for time in times]
    assert all(later - earlier >= 10 for earlier, later in itertools.pairwise(minutes))
    for timer in (SHARE / "systemd").glob("art32-backup-*.timer"):
        hour, minute = re.findall(r"OnCalendar=\S+ (\d\d):(\d\d)", timer.read_text())[0]
        assert minutes[-1] + 30 <= int(hour) * 60 + int(minute)
