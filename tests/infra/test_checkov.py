"""checkov, a scanner that others wrote, over a plan that is made from the graph.

What it may complain about is listed with the reason; what is listed and no longer complained about
fails too. The canaries prove that it looks: a plan with one thing spoilt for each check.
"""

from __future__ import annotations

import json
import os
import subprocess
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest

from infra.graph import Graph
from infra.terraform import plan
from tests.infra import cases
from tests.infra.test_bad_twins import both, put, statement

CHECKOV = Path(__file__).parent.parent.parent / ".venv-checkov" / "bin" / "checkov"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not CHECKOV.exists(), reason="no .venv-checkov: `scripts/environment checkov` makes it"
    ),
]
# check, resources, why
ACCEPTED: list[tuple[str, str, str]] = [
    ("CKV2_AWS_3", "aws_guardduty_detector.*", "one account, no organisation to enrol"),
    (
        "CKV2_AWS_34",
        "aws_ssm_parameter.*",
        "addresses and versions, no secrets: they are read aloud",
    ),
    ("CKV2_AWS_38", "aws_route53_zone.*", "DNSSEC's key must lie in us-east-1; documented"),
    ("CKV2_AWS_39", "aws_route53_zone.*", "query logs must lie in us-east-1 and hold addresses"),
    (
        "CKV2_AWS_57",
        "aws_secretsmanager_secret.mail-*",
        "a DKIM key and a relay's password: rotated by hand, in a runbook",
    ),
    ("CKV2_AWS_57", "aws_secretsmanager_secret.rollbar", "a token of Rollbar: it is changed there"),
    ("CKV2_AWS_62", "aws_s3_bucket.*", "nobody waits for objects; data events are recorded"),
    (
        "CKV2_AWS_76",
        "aws_lb.web",
        "the group is there (rule site-has-a-firewall); checkov wants it on a path of its own",
    ),
    (
        "CKV2_AWS_9",
        "aws_ebs_volume.*",
        "selected by tag, which checkov does not follow (rule data-is-in-a-plan)",
    ),
    (
        "CKV_AWS_9",
        "aws_iam_account_password_policy.*",
        "passwords that expire become worse ones (NIST SP 800-63B)",
    ),
    (
        "CKV_AWS_18",
        "aws_s3_bucket.*",
        "uses of backups are data events in the trail, without a second copy of addresses",
    ),
    (
        "CKV_AWS_91",
        "aws_lb.web",
        "a balancer's log holds every visitor's address and cannot be scrubbed",
    ),
    (
        "CKV_AWS_112",
        "aws_ssm_document.sessions",
        "TLS already; a key besides would give every machine a right to decrypt",
    ),
    (
        "CKV_AWS_144",
        "aws_s3_bucket.*",
        "a second region is the profile `ha`, by copies of snapshots",
    ),
    (
        "CKV_AWS_145",
        "aws_s3_bucket.*",
        "backups are OpenPGP already, and a lost KMS key would lose them all",
    ),
    (
        "CKV_AWS_231",
        "aws_network_acl_rule.*-in-1024-*",
        "answers come back to ephemeral ports; security groups refuse 3389",
    ),
    ("CKV_AWS_252", "aws_cloudtrail.*", "alarms go through EventBridge and metric filters"),
    ("CKV_AWS_260", "aws_vpc_security_group_ingress_rule.internet-alb-80", "redirects to HTTPS"),
    ("CKV_AWS_290", "aws_iam_role_policy.*", "Systems Manager's own actions know no resources"),
    ("CKV_AWS_338", "aws_cloudwatch_log_group.*", "article 5(1)(e): 30 days where addresses are"),
    ("CKV_AWS_355", "aws_iam_role_policy.*", "Systems Manager's own actions know no resources"),
]


def scan(graph: Graph, folder: Path) -> tuple[set[tuple[str, str]], set[str]]:
    """Return the checks that failed with their resources, and those that passed somewhere."""
    file = folder / "plan.json"
    file.write_text(json.dumps(plan(graph)))
    done = subprocess.run(
        [
            *(str(CHECKOV), "-f", str(file), "--framework", "terraform_plan"),
            *("--skip-download", "-o", "json"),
        ],
        env={"PATH": os.environ["PATH"], "HOME": str(folder), "LOG_LEVEL": "ERROR"},
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        timeout=240,
    )
    told: dict[str, Any] = json.loads(done.stdout)
    results = told["results"]
    assert told["summary"]["parsing_errors"] == 0
    failed = {(one["check_id"], one["resource"]) for one in results["failed_checks"]}
    return failed, {one["check_id"] for one in results["passed_checks"]}


def test_checkov_complains_about_nothing_but_what_we_accept(tmp_path: Path) -> None:
    graphs = {
        "managed": cases.graph(("ha", "rds", "ses", "none", "3", "1", "1", "lasting")),
        "servers": cases.graph(("small", "server", "server", "volume", "3", "1", "0", "lasting")),
        "account": cases.bootstrap(),
    }
    failed: set[tuple[str, str]] = set()
    for name, graph in graphs.items():
        (tmp_path / name).mkdir()
        complaints, passed = scan(graph, tmp_path / name)
        failed |= complaints
        assert len(passed) > 15
    used = {
        row
        for row in ACCEPTED
        for check, resource in failed
        if check == row[0] and fnmatchcase(resource, row[1])
    }
    accepted = {
        (check, resource)
        for check, resource in failed
        for row in ACCEPTED
        if check == row[0] and fnmatchcase(resource, row[1])
    }
    assert sorted(failed - accepted) == []
    assert [row for row in ACCEPTED if row not in used] == []


def test_checkov_sees_what_is_spoilt(tmp_path: Path) -> None:
    managed = cases.graph(("standard", "rds", "ses", "none", "2", "1", "1", "lasting"))
    servers = cases.graph(("small", "server", "server", "volume", "3", "1", "0", "lasting"))
    rule = "vpc:SecurityGroupIngressRule"
    spoilt = both(
        put("rds:Instance", "storageEncrypted", False),
        put("rds:Instance", "publiclyAccessible", True),
        put("rds:Instance", "deletionProtection", False),
        put("s3:BucketPublicAccessBlock", "blockPublicPolicy", False),
        put("s3:BucketVersioning", "versioningConfiguration.status", "Suspended", "backups"),
        put("ec2:LaunchTemplate", "metadataOptions.httpTokens", "optional"),
        put("kms:Key", "enableKeyRotation", False),
        put("cloudtrail:Trail", "enableLogFileValidation", False),
        put("lb:Listener", "sslPolicy", "ELBSecurityPolicy-2016-08", "https"),
        put(rule, "cidrIpv4", "0.0.0.0/0", "web-db-5432"),
        put(rule, "referencedSecurityGroupId", None, "web-db-5432"),
        put(rule, "fromPort", 22, "web-db-5432"),
        put(rule, "toPort", 22, "web-db-5432"),
        statement("iam:RolePolicy", "web", "policy", Action="*", Resource="*"),
    )(managed)
    failed = {check for check, _ in scan(spoilt, tmp_path)[0]}
    (tmp_path / "servers").mkdir()
    bare = put("ebs:Volume", "encrypted", False)(servers)
    failed |= {check for check, _ in scan(bare, tmp_path / "servers")[0]}
    expected = {
        *("CKV_AWS_16", "CKV_AWS_17", "CKV_AWS_293", "CKV_AWS_54", "CKV_AWS_21", "CKV_AWS_79"),
        *("CKV_AWS_7", "CKV_AWS_36", "CKV_AWS_103", "CKV_AWS_24", "CKV_AWS_62", "CKV_AWS_3"),
    }
    assert expected - failed == set()
