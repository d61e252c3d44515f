"""Files that a machine gets from its stack: its own firewall, and its service's place behind it.

Each is non-secret and lies in the artifact bucket, pinned by its SHA-256. The agent's TOML belongs
here too, rendered from `agent.config.model`.
"""

from __future__ import annotations

from collections.abc import Mapping

from infra import naming, reachability
from infra.config.model import InfraConfig


def files(config: InfraConfig, duty: str) -> Mapping[str, str]:
    """Return the files of a duty by name."""
    own = {"web": nginx_site, "db": postgresql_access, "mail": postfix_main}.get(duty)
    found = {"nftables.conf": nftables(config, duty)}
    if own is not None:
        found[{"web": "nginx.conf", "db": "pg_hba.conf", "mail": "main.cf"}[duty]] = own(config)
    return found


def nftables(config: InfraConfig, duty: str) -> str:
    """Return a machine's own firewall, from the same table as the security groups.

    The metadata service, which hands out the role's credentials, answers root and the users of
    Art32 alone: else the web application would own the writer's role. The agent's package adds its
    users to the set. There is no SSH to brute-force and so nothing to ban.
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
            "    ip daddr 169.254.169.254 tcp dport 80 meta skuid != @metadata_users reject",
            "  }",
            "}",
            "",
        ]
    )


def _networks(config: InfraConfig, source: str) -> str:
    """Return the networks that a peer's connections come from."""
    return naming.tier_cidr(config.cidr, reachability.tier(config, source))


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
            f"hostssl all  all  {private}  scram-sha-256",
            f"hostssl all  all  {isolated}  scram-sha-256",
            "",
        ]
    )


def postfix_main(config: InfraConfig) -> str:
    """Return Postfix's main.cf: it takes mail from the webservers' tier and delivers encrypted.

    The smarthost's password lies in /etc/postfix/relay, which the agent's package writes from the
    secret that the stack has made.
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
            "smtpd_milters = inet:127.0.0.1:8891",
            "non_smtpd_milters = $smtpd_milters",
            "",
        ]
    )
