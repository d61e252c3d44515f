"""Files that guard a machine from inside: its firewall, what the kernel records, its updates."""

from __future__ import annotations

from collections.abc import Mapping

from infra import naming, reachability
from infra.config.model import InfraConfig

METADATA = "169.254.169.254"
METADATA_USERS: Mapping[str, tuple[str, ...]] = {
    "web": ("art32-doctor", "art32-files", "art32-logs", "art32-publish"),
    "db": ("art32-doctor", "art32-logs", "art32-pg", "art32-publish", "art32-wal"),
    "mail": ("art32-doctor", "art32-logs", "art32-publish"),
    "dumper": ("art32-doctor", "art32-pg", "art32-publish"),
    "keeper": ("art32-keeper", "art32-publish"),
    "restorer": ("art32-publish",),
}
"""Users of the agent's units that need the role's credentials, beside root."""
REBOOT_MINUTES: Mapping[str, int] = {
    "web": 90,
    "mail": 120,
    "dumper": 130,
    "keeper": 140,
    "db": 150,
}
"""When a machine may start anew, in minutes after midnight (UTC), and ends before the backups
begin. Machines of one duty in several zones follow each other."""
BETWEEN_ZONES = 10


def nftables(config: InfraConfig, duty: str) -> str:
    """Return a machine's own firewall, from the same table as the security groups.

    The metadata service, which hands out the role's credentials, answers root and the users of
    Art32 alone: else the web application would own the writer's role. There is no SSH to
    brute-force and so nothing to ban.
    """
    accepted = [
        f"    tcp dport {flow.port} ip saddr {_networks(config, flow.source)} accept"
        for flow in reachability.flows(config)
        if flow.target == duty
    ]
    return "\n".join(
        [
            "#!/usr/sbin/nft -f",
            "flush ruleset",
            "table inet art32 {",
            "  set metadata_users { type uid; elements = { 0 }; }",
            "  chain input {",
            "    type filter hook input priority filter; policy drop;",
            "    ct state established,related accept",
            "    ct state invalid drop",
            '    iif "lo" accept',
            "    meta l4proto { icmp, ipv6-icmp } accept",
            *accepted,
            "  }",
            "  chain forward { type filter hook forward priority filter; policy drop; }",
            "  chain output {",
            "    type filter hook output priority filter; policy accept;",
            f"    ip daddr {METADATA} meta skuid != @metadata_users reject",
            "    ip6 daddr fd00:ec2::254 meta skuid != @metadata_users reject",
            "  }",
            "}",
            "",
        ]
    )


def metadata_users(duty: str) -> str:
    """Return what lets the agent's users of a duty reach the metadata service.

    It stands apart from the firewall: a user who is not there would keep all of it from loading.
    """
    return "".join(
        f'add element inet art32 metadata_users {{ "{user}" }}\n' for user in METADATA_USERS[duty]
    )


def nftables_service() -> str:
    """Return the drop-in that adds those users whenever the firewall is loaded."""
    add = "-/usr/sbin/nft -f /etc/art32/metadata-users.nft"
    return f"[Service]\nExecStartPost={add}\nExecReload={add}\n"


def _networks(config: InfraConfig, source: str) -> str:
    """Return the networks that a peer's connections come from."""
    return naming.tier_cidr(config.cidr, reachability.tier(config, source))


def audit_rules() -> str:
    """Return what the kernel's audit records: who changed or read what guards this machine.

    Nothing that depends on requests is in it, so that it holds no visitor's address and no load
    floods it (auditctl(8)).
    """
    watched = (
        ("/etc/passwd", "wa", "identity"),
        ("/etc/group", "wa", "identity"),
        ("/etc/shadow", "wa", "identity"),
        ("/etc/sudoers", "wa", "identity"),
        ("/etc/sudoers.d", "wa", "identity"),
        ("/etc/art32", "wa", "art32"),
        ("/etc/credstore", "rwa", "credentials"),
        ("/etc/nftables.conf", "wa", "firewall"),
        ("/etc/apt/apt.conf.d", "wa", "updates"),
        ("/etc/systemd/system", "wa", "units"),
        ("/etc/cron.d", "wa", "units"),
        ("/etc/audit", "wa", "audit"),
    )
    return "\n".join(
        [
            "-b 8192",
            "--backlog_wait_time 0",
            "-f 1",
            *(f"-w {path} -p {rights} -k {key}" for path, rights, key in watched),
            "-a always,exit -F arch=b64 -S init_module,finit_module,delete_module -k modules",
            "-a always,exit -F arch=b64 -S settimeofday,clock_settime -k clock",
            # attach and seize of another process
            "-a always,exit -F arch=b64 -S ptrace -F a0=0x10 -k injection",
            "-a always,exit -F arch=b64 -S ptrace -F a0=0x4206 -k injection",
            # what a person starts as root
            "-a always,exit -F arch=b64 -S execve -F euid=0 -F auid>=1000 -F auid!=unset -k people",
            "",
        ]
    )


def upgrades(duty: str, *, pgdg: bool = False) -> str:
    """Return how unattended-upgrades installs: security alone, a restart in the duty's window.

    PostgreSQL's own packages (`pgdg`) know no suite for security: what is newest there is."""
    more = ['  "origin=apt.postgresql.org,codename=${distro_codename}-pgdg";'] if pgdg else []
    return "\n".join(
        [
            'APT::Periodic::Update-Package-Lists "1";',
            'APT::Periodic::Unattended-Upgrade "1";',
            'APT::Periodic::AutocleanInterval "7";',
            "#clear Unattended-Upgrade::Origins-Pattern;",
            "Unattended-Upgrade::Origins-Pattern {",
            '  "origin=Debian,codename=${distro_codename},label=Debian-Security";',
            '  "origin=Debian,codename=${distro_codename}-security,label=Debian-Security";',
            *more,
            "};",
            'Unattended-Upgrade::Automatic-Reboot "true";',
            'Unattended-Upgrade::Automatic-Reboot-WithUsers "true";',
            f'Unattended-Upgrade::Automatic-Reboot-Time "{_clock(REBOOT_MINUTES[duty])}";',
            'Unattended-Upgrade::Remove-Unused-Kernel-Packages "true";',
            'Unattended-Upgrade::SyslogEnable "true";',
            "",
        ]
    )


def reboot_times(config: InfraConfig, duty: str) -> Mapping[str, str]:
    """Return by zone when a machine of a duty may start anew."""
    start = REBOOT_MINUTES[duty]
    return {zone: _clock(start + place * BETWEEN_ZONES) for place, zone in enumerate(config.zones)}


def _clock(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"
