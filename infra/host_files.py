"""Files that a machine gets from its stack, by their place on the machine.

Each is non-secret and lies in the artifact bucket, pinned by its SHA-256. What concerns every
machine is in `infra.host_guard`, the agent's configuration in `infra.agent_file`; here is the
service's place behind the firewall.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from infra import agent_file, host_guard, naming, reachability
from infra.config.model import InfraConfig

Files = Mapping[str, str]
DEBIAN_POSTGRESQL = 15
"""The major version of PostgreSQL that Debian 12 has."""
DKIM_SELECTOR = "art32"
"""Under which name the public half of the mail server's key stands in the DNS."""


def files(config: InfraConfig, duty: str, database: str = agent_file.UNKNOWN_ADDRESS) -> Files:
    """Return the texts of a duty by their paths on the machine, without the leading slash."""
    return {
        **dict(_guard(config, duty)),
        **dict(_service(config, duty)),
        **dict(_agent(config, duty, database)),
    }


def _guard(config: InfraConfig, duty: str) -> Iterator[tuple[str, str]]:
    yield "etc/nftables.conf", host_guard.nftables(config, duty)
    yield "etc/art32/metadata-users.nft", host_guard.metadata_users(duty)
    yield "etc/systemd/system/nftables.service.d/50-art32.conf", host_guard.nftables_service()
    if duty == "restorer":  # isolated: it reaches no mirror, and lives for an hour
        return
    yield "etc/audit/rules.d/50-art32.rules", host_guard.audit_rules()
    pgdg = duty == "dumper" and needs_pgdg(config)
    yield "etc/apt/apt.conf.d/52art32-upgrades", host_guard.upgrades(duty, pgdg=pgdg)
    times = host_guard.reboot_times(config, duty).items()
    yield "etc/art32/reboot-times", "".join(f"{zone} {time}\n" for zone, time in times)


def _service(config: InfraConfig, duty: str) -> Iterator[tuple[str, str]]:
    match duty:
        case "web":
            yield "etc/art32/nginx.conf", nginx_site(config)
        case "db":
            yield "etc/art32/pg_hba.conf", postgresql_access(config)
            yield "etc/art32/pg_ident.conf", postgresql_users()
            yield "etc/art32/postgresql.conf", postgresql_settings(config)
        case "dumper" if needs_pgdg(config):
            yield "etc/apt/sources.list.d/pgdg.sources", postgresql_packages()
            yield "etc/art32/packages.list", f"postgresql-client-{major(config)}\n"
        case "mail":
            yield "etc/art32/main.cf", postfix_main(config)
            yield "etc/art32/opendkim.conf", opendkim(config)


def _agent(config: InfraConfig, duty: str, database: str) -> Iterator[tuple[str, str]]:
    if fetched := secrets(config, duty):
        yield "etc/art32/secrets.list", "".join(f"{line}\n" for line in fetched)
    if config.backup.recipients:
        keys = public_keys(config, duty)
        yield "etc/art32/agent.toml", agent_file.render(config, duty, database)
        yield "etc/art32/public-keys.list", "".join(f"{key}\n" for key in keys)


def public_keys(config: InfraConfig, duty: str) -> tuple[str, ...]:
    """Return the fingerprints of the public keys that a machine fetches."""
    if duty in ("keeper", "restorer"):
        return config.backup.roots
    return tuple(one.partition("=")[2] for one in config.backup.recipients)


def secrets(config: InfraConfig, duty: str) -> tuple[str, ...]:
    """Return what a machine fetches from Secrets Manager.

    Each line is file, its owner, the unit that reads it, the secret's name.
    """
    found = []
    if duty in agent_file.reporting(config) and config.backup.recipients:
        name = naming.prefixed(config, agent_file.ROLLBAR)
        found.append(f"{agent_file.ROLLBAR_FILE} root art32-report-drain.service {name}")
    if duty == "mail":
        relay, dkim = (naming.prefixed(config, "mail", name) for name in ("relay", "dkim"))
        found += [
            f"/etc/postfix/relay root postfix.service {relay}",
            f"/etc/dkimkeys/art32.private opendkim opendkim.service {dkim}",
        ]
    return tuple(found)


def nginx_site(config: InfraConfig) -> str:
    """Return a site that answers the load balancer's health check, to be extended.

    Only the load balancer may say who the client is.
    """
    return "\n".join(
        [
            "server {",
            f"  listen {reachability.WEB_PORT} ssl default_server;",
            "  ssl_certificate /etc/ssl/certs/ssl-cert-snakeoil.pem;",
            "  ssl_certificate_key /etc/ssl/private/ssl-cert-snakeoil.key;",
            f"  set_real_ip_from {naming.tier_cidr(config.cidr, 'public')};",
            "  real_ip_header X-Forwarded-For;",
            "  real_ip_recursive on;",
            '  location = /healthz { access_log off; return 200 "ok\\n"; }',
            "  include /etc/nginx/art32-site.d/*.conf;",
            "}",
            "",
        ]
    )


def postgresql_access(config: InfraConfig) -> str:
    """Return pg_hba.conf: sockets by peer, the network by TLS and SCRAM alone."""
    private = naming.tier_cidr(config.cidr, "private")
    isolated = naming.tier_cidr(config.cidr, "isolated")
    return "\n".join(
        [
            "local   all  postgres                     peer",
            "local   all  all                          peer map=art32",
            f"local   replication  {agent_file.REPLICATION_USER}  peer map=art32",
            f"hostssl all  all  {private}  scram-sha-256",
            f"hostssl all  all  {isolated}  scram-sha-256",
            "",
        ]
    )


def postgresql_users() -> str:
    """Return pg_ident.conf: the agent's users are the roles that dump and copy, everybody else is
    himself."""
    wanted = (
        ("art32-pg", agent_file.BACKUP_USER),
        ("art32-pg", agent_file.REPLICATION_USER),
        ("art32-health", agent_file.MONITOR_USER),
        ("root", agent_file.BACKUP_USER),
        ("root", agent_file.REPLICATION_USER),
        ("root", agent_file.MONITOR_USER),
    )
    lines = [f"art32  {user}  {role}\n" for user, role in wanted]
    return "".join([*lines, "art32  /^(.*)$  \\1\n"])


_ARCHIVING = """\
wal_level = replica
archive_mode = on
archive_command = '/usr/bin/art32 wal push %p'
archive_timeout = 30s
"""


def postgresql_settings(config: InfraConfig) -> str:
    """Return the server's settings: TLS, no statement in a log, a log that can be rotated; and the
    write-ahead log archived, where there is an agent that takes it."""
    settings = """\
listen_addresses = '*'
ssl = on
log_statement = none
log_parameter_max_length_on_error = 0
logging_collector = on
log_directory = '/var/log/postgresql'
log_filename = 'postgresql.log'
log_file_mode = 0640
log_rotation_age = 0
log_rotation_size = 0
"""
    return settings + (_ARCHIVING if config.backup.recipients else "")


def major(config: InfraConfig) -> int:
    """Return the managed database's major version."""
    return int(config.db.version.partition(".")[0])


def needs_pgdg(config: InfraConfig) -> bool:
    """Tell whether the database is newer than Debian's own client, which then cannot dump it."""
    return config.db.form == "rds" and major(config) > DEBIAN_POSTGRESQL


def postgresql_packages() -> str:
    """Return where PostgreSQL's own packages come from. Their key comes with Debian's
    postgresql-common, so it is Debian that vouches for it."""
    return """\
Types: deb
URIs: https://apt.postgresql.org/pub/repos/apt
Suites: bookworm-pgdg
Components: main
Signed-By: /usr/share/postgresql-common/pgdg/apt.postgresql.org.asc
"""


def opendkim(config: InfraConfig) -> str:
    """Return opendkim.conf: it signs what leaves, with the key of the secret."""
    return "\n".join(
        [
            "Syslog yes",
            "UMask 007",
            "Mode s",
            "OversignHeaders From",
            f"Domain {config.mail.domain}",
            f"Selector {DKIM_SELECTOR}",
            "KeyFile /etc/dkimkeys/art32.private",
            "Socket inet:8891@127.0.0.1",
            "UserID opendkim",
            "PidFile /run/opendkim/opendkim.pid",
            "",
        ]
    )


def postfix_main(config: InfraConfig) -> str:
    """Return Postfix's main.cf: it takes mail from the webservers' tier and delivers encrypted.

    The smarthost's password lies in /etc/postfix/relay, which the first boot writes from the secret
    that the stack has made. Logs go to a file that Postfix itself reopens.
    """
    mail = config.mail
    relayed = [
        f"relayhost = [{mail.relay_host}]:{mail.relay_port}",
        "smtp_sasl_auth_enable = yes",
        "smtp_sasl_security_options = noanonymous",
        "smtp_sasl_password_maps = texthash:/etc/postfix/relay",
        f"smtp_tls_wrappermode = {'yes' if mail.relay_port == 465 else 'no'}",
        "smtp_tls_security_level = secure",
    ]
    return "\n".join(
        [
            "compatibility_level = 3.6",
            f"myhostname = {mail.domain}",
            f"myorigin = {mail.domain}",
            "mydestination =",
            f"mynetworks = 127.0.0.0/8 {naming.tier_cidr(config.cidr, 'private')}",
            "smtpd_relay_restrictions = permit_mynetworks, reject",
            "smtpd_tls_security_level = encrypt",
            "smtpd_tls_cert_file = /etc/ssl/certs/ssl-cert-snakeoil.pem",
            "smtpd_tls_key_file = /etc/ssl/private/ssl-cert-snakeoil.key",
            "smtp_tls_CApath = /etc/ssl/certs",
            *(relayed if mail.delivery == "relay" else ["smtp_tls_security_level = dane"]),
            "smtp_dns_support_level = dnssec",
            "maillog_file = /var/log/mail.log",
            "smtpd_milters = inet:127.0.0.1:8891",
            "non_smtpd_milters = $smtpd_milters",
            "",
        ]
    )
