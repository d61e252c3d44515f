"""What `art32 service apply` would change: pure planning; `make vmtest` applies it for real."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agent import service
from agent.config.model import Configuration
from agent.config.service import conflicts, units
from agent.errors import Art32Error, Code
from agent.service import drop_ins


def config(**more: Any) -> Configuration:
    keys = [{"fingerprint": letter * 40, "key_file": "/k"} for letter in "ABC"]
    return Configuration.model_validate(
        {
            "host": "db1",
            "store": {"kind": "s3", "bucket": "example-backups"},
            "signing": keys[0],
            "encryption": {
                "recipients": [
                    {"name": "operations", **keys[1]},
                    {"name": "escrow", **keys[2]},
                ]
            },
            **more,
        }
    )


APP = {"name": "app", "kind": "postgresql"}


def enable(place: Path, *units: str) -> None:
    for unit in units:
        directory = place / "timers.target.wants"
        directory.mkdir(exist_ok=True)
        (directory / unit).symlink_to(f"/usr/lib/systemd/system/{unit}")


def test_what_is_missing_is_enabled_and_what_is_too_much_is_not(tmp_path: Path) -> None:
    enable(
        tmp_path,
        "art32-health.timer",
        "art32-backup-mysql@shop.timer",
        "logrotate.timer",  # not ours
    )
    change = service.plan(config(sources=[APP]), tmp_path)
    assert change.enable == ("art32-backup-postgresql@app.timer", "art32-doctor.timer")
    assert change.disable == ("art32-backup-mysql@shop.timer",)


def test_a_second_time_there_is_nothing_to_do(tmp_path: Path) -> None:
    store = {"kind": "directory", "path": "/srv/backups"}
    wanted = config(store=store, sources=[APP])
    first = service.plan(wanted, tmp_path)
    enable(tmp_path, *first.enable)
    for name in first.write:
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text(drop_ins.texts(wanted)[name])
    assert service.plan(wanted, tmp_path).lines() == []


def test_a_drop_in_that_nobody_needs_any_more_goes_and_others_stay(tmp_path: Path) -> None:
    ours = tmp_path / "art32-backup-.service.d" / "50-art32-store.conf"
    theirs = tmp_path / "art32-backup-.service.d" / "override.conf"
    ours.parent.mkdir()
    for file in (ours, theirs):
        file.write_text("[Service]\n")
    change = service.plan(config(), tmp_path)
    assert change.remove == ("art32-backup-.service.d/50-art32-store.conf",)


def test_a_bucket_needs_no_right_to_write_anywhere() -> None:
    assert drop_ins.texts(config(sources=[APP])) == {}


def test_each_unit_may_write_where_the_configuration_has_it_write_and_no_other_may() -> None:
    found = drop_ins.texts(
        config(
            store={"kind": "directory", "path": "/srv/back%ups"},
            sources=[APP, {"name": "tickets", "kind": "sqlite", "path": "/srv/app/t.db"}],
            logs={
                "rotate": [{"name": "x", "path": "/srv/logs/x.log", "preset": "nginx"}],
                "pipes": [
                    {
                        "name": "web",
                        "listen": "unix-datagram:/run/web/log",
                        "to": "/srv/out/web.log",
                        "socket_group": "www-data",
                    }
                ],
            },
        )
    )
    assert {name: text.splitlines()[2:] for name, text in found.items()} == {
        **{
            f"{unit}.d/50-art32-store.conf": ['ReadWritePaths="-/srv/back%%ups"']
            for unit in (
                "art32-backup-.service",
                "art32-logs-rotate.service",
                "art32-wal.service",
                "art32-enrol.service",
                "art32-prune.service",
                "art32-logs-prune.service",
            )
        },
        "art32-backup-sqlite@tickets.service.d/50-art32.conf": ['ReadWritePaths="-/srv/app"'],
        "art32-logs-rotate.service.d/50-art32.conf": ['ReadWritePaths="-/srv/logs"'],
        "art32-logs-pipe.service.d/50-art32.conf": [
            'ReadWritePaths="-/srv/out"',
            'ReadWritePaths="-/run/web"',
            "SupplementaryGroups=www-data",
        ],
    }


def test_a_source_that_is_backed_up_more_often_gets_a_timer_of_its_own() -> None:
    found = drop_ins.texts(config(sources=[{**APP, "every": "hour"}]))
    assert {name: text.splitlines()[1:] for name, text in found.items()} == {
        "art32-backup-postgresql@app.timer.d/50-art32.conf": [
            "[Timer]",
            "OnCalendar=",  # the calendar of the package goes: several would add up
            "OnCalendar=*-*-* *:10:00 UTC",
            "RandomizedDelaySec=5min",
        ]
    }


def test_a_host_that_makes_its_own_key_enrols_and_proves_that_it_can_only_write() -> None:
    key = {"key_file": "/srv/keys/signing-key.asc"}
    own = config(signing=key)
    assert {"art32-enrol.timer", "art32-doctor.timer"} <= set(units(own))
    assert drop_ins.texts(own)["art32-enrol.service.d/50-art32.conf"].splitlines()[2:] == [
        'ReadWritePaths="-/srv/keys"'
    ]
    brought = config(store={"kind": "directory", "path": "/srv/backups"})
    assert not {"art32-enrol.timer", "art32-doctor.timer"} & set(units(brought))


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ({"health": {"backup_fail_hours": 12}}, "`app` needs `every"),
        ({"health": {"backup_fail_hours": 12}, "sources": [{**APP, "every": "hour"}]}, None),
        ({"drill": {"within_hours": 100}, "service": {"role": "restorer"}}, "weekly drills"),
        ({"drill": {"within_hours": 100}}, None),
        ({}, None),
    ],
)
def test_what_no_timer_can_keep_is_said(section: dict[str, Any], said: str | None) -> None:
    found = conflicts(config(**{"sources": [APP], **section}))
    assert (said is None and not found) or (said is not None and said in found[0])


def test_the_engines_of_drills_may_write_where_the_configuration_has_them() -> None:
    found = drop_ins.texts(config(service={"role": "restorer"}, drill={"directory": "/srv/drill"}))
    for unit in ("art32-drill@.service", "art32-drill-engine.service"):
        assert 'ReadWritePaths="-/srv/drill"' in found[f"{unit}.d/50-art32.conf"]


def test_without_systemd_it_says_so_and_touches_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service, "_RUNNING", tmp_path / "no-systemd")
    with pytest.raises(Art32Error) as raised:
        service.apply(config(sources=[APP]), tmp_path)
    assert raised.value.code is Code.TOOL_MISSING
    assert list(tmp_path.iterdir()) == []
