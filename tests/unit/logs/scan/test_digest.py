from __future__ import annotations

import os
from datetime import UTC, date, datetime
from pathlib import Path

from agent.config.logs_scan import Scan, Watch
from agent.config.logs_scrub import Scrub
from agent.logs.scan import open_scanner
from agent.logs.scan.digest import digest
from agent.logs.scan.publish import publish, read_state
from agent.logs.scrub import open_scrubber

LINE = (
    b'203.0.113.%d - - [%s:06:03:00 +0000] "GET /.env?mail=alice%%40example.org HTTP/1.1" 404 1\n'
)


def test_a_digest_says_what_how_many_and_against_the_days_before(tmp_path: Path) -> None:
    settings = Scan.model_validate({"directory": tmp_path / "scan"})
    scrub = open_scrubber(Scrub()).scrub
    today = datetime.now(UTC).date()
    for day, attackers in ((date.fromordinal(today.toordinal() - 1), 2), (today, 6)):
        scanner = open_scanner(settings, scrub=scrub)
        stamp = day.strftime("%d/%b/%Y").encode()
        lines = b"".join(LINE % (number, stamp) for number in range(attackers))
        scanner.feed(lines, source="/var/log/nginx/access.log", segment=str(day))
        missed = {"/var/log/app.log": "it is not there"}
        publish(settings, scanner, "watch", day=day.isoformat(), not_looked_at=missed)
        publish(settings, scanner, "watch", day=day.isoformat(), not_looked_at=missed)
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "other.log").write_text("something\n")
    old = tmp_path / "log" / "old.log"
    old.write_text("something\n")
    os.utime(old, (1, 1))
    midnight = datetime(today.year, today.month, today.day, tzinfo=UTC).timestamp()
    answer = digest(settings, Watch(), today, midnight=midnight, log_roots=[tmp_path / "log"])
    text = "\n".join(answer.lines)
    assert answer.status == 20
    assert [
        (row["rule"], row["findings"], row["yesterday"], row["daily_mean"])
        for row in answer.data["rules"]
    ] == [("http-secret-files", 6, 2, 0.3)]
    assert len(answer.data["rules"][0]["samples"]) == 3
    assert [one["source"] for one in answer.data["not_looked_at"]] == [
        "/var/log/app.log",
        str(tmp_path / "log" / "other.log"),
    ]
    assert "/var/log/nginx/access.log: 6 lines" in text
    for secret in ("alice", *(f"203.0.113.{number}" for number in range(1, 6))):
        assert secret not in text
        assert secret not in str(answer.data)
    assert read_state(settings.directory)["duties"]["watch"]["lines"] == 6


def test_a_day_without_a_scan_is_not_a_good_day(tmp_path: Path) -> None:
    settings = Scan.model_validate({"directory": tmp_path / "scan"})
    answer = digest(settings, Watch(), date(2026, 11, 23), midnight=0, log_roots=[])
    assert (answer.status, answer.warnings) == (20, ["nothing was scanned on 2026-11-23"])
