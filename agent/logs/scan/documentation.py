"""The page of detections, made from the rules and formats themselves."""

from __future__ import annotations

from collections.abc import Iterator

from agent.logs.scan import formats, rules

_INTRODUCTION = """# What `art32 logs scan` detects

Rules are data: TOML files under `agent/logs/scan/rules/`, and your own `*.toml` files in
`logs.scan.rules_directory`, where a rule of the same id replaces Art32's.

- **First stage**: a rule's `triggers` are searched in whole blocks of raw lines, in any case, with
  their reserved characters percent-encoded or not. Lines without a trigger cost nothing more.
- **Second stage**: a line with a trigger is taken apart by its format. A rule for requests looks at
  the path, referer or user agent with every disguise taken off; a rule for messages must match the
  whole message of the named program, first byte to last, so that a user name such as
  `x from 198.51.100.1 port 22 ssh2` accuses nobody.
- **Windows**: a rule fires when `threshold` lines (or different values) of one key lie within its
  window. While it goes on, the same finding grows. IPv4 counts by address, IPv6 by /64. Where a
  total is given, all addresses together fire once without naming one.
- **Memory is bounded**: each rule remembers `tracked_addresses` that were seen once and a quarter
  as many that were seen again. Who sprays addresses pushes out those seen once, never those seen
  again: what is then missed is an attacker whose second line comes after as many other addresses
  had their first. Every report counts those forgotten, and totals need no memory.
- **Whom a line accuses**: the peer, never what X-Forwarded-For says, unless the peer is one of
  `logs.scan.trusted_proxies`; then the last address in it that is none of them.
- **Bans**: off by default. Only rules marked so, for failed logins over SSH and mail, only from
  files whose format is said, never your own networks; an hour at most; beyond 50 a minute all
  banning stops. Art32 writes a list that fail2ban, CrowdSec or nft may read, and blocks nothing
  itself.

What it does not see: request bodies, what is encrypted end to end, what a daemon does not log,
attacks slower than the windows, names or passwords that are right. A finding is a reason to look,
no proof; no finding is no proof either.

A pattern may repeat only within bounds and may not look around or back, so that no line can make it
slow; `art32` refuses others. Of a request field the first 8 KiB are looked at, of a line 64 KiB.
"""


def page() -> str:
    """Return the page as Markdown, without the note that it is generated."""
    lines = [*_INTRODUCTION.splitlines(), "", "## Formats", "", "| name | what |", "|---|---|"]
    lines += [f"| `{one['name']}` | {one['about']} |" for one in formats.load().table]
    found = rules.load()
    lines += ["", "## Rules", ""]
    lines += ["| rule | severity | fires after | may ban |", "|---|---|---|---|"]
    for rule in found:
        served = f", {rule.served_severity} when served" if rule.served_severity else ""
        ban = "yes" if rule.ban else "no"
        lines.append(
            f"| [`{rule.id}`](#{rule.id}) | {rule.severity}{served} | {fires(rule)} | {ban} |"
        )
    for rule in found:
        lines += ["", f"### {rule.id}", "", f"{rule.title[:1].upper()}{rule.title[1:]}."]
        lines += [rule.meaning, "", *_samples(rule)]
    return "\n".join(lines) + "\n"


def fires(rule: rules.Rule) -> str:
    """Return in words when a rule fires."""
    what = {"user": "user names", "target": "paths", "address": "addresses"}.get(rule.distinct)
    unit = f"different {what}" if what else "lines" if rule.threshold > 1 else "line"
    words = f"{rule.threshold} {unit}"
    if rule.threshold > 1:
        words += f" in {_seconds(rule.window_seconds)}"
    if rule.key == "user":
        words += " for one account"
    if rule.after:
        words += f", after {rule.after_count} of `{rule.after}` in {_seconds(rule.window_seconds)}"
    if rule.total:
        words += f"; {rule.total} of all together"
    return words


def _seconds(count: int) -> str:
    if count % 3600 == 0:
        return f"{count // 3600} h"
    return f"{count // 60} min" if count % 60 == 0 else f"{count} s"


def _samples(rule: rules.Rule) -> Iterator[str]:
    yield "```text"
    for sample in rule.samples:
        yield f"{'finds ' if sample.matches else 'passes'}  {sample.line}"
    yield "```"
