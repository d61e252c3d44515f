"""A graph becomes a plan and a configuration; what has no counterpart is said."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pulumi
import pulumi_aws as aws
import pytest
from pulumi import ResourceOptions

from infra.capture import capture
from infra.terraform import configuration, convert, plan


def program() -> None:
    provider = aws.Provider("main", region="eu-west-3", allowed_account_ids=["210987654321"])
    here = ResourceOptions(provider=provider)
    bucket = aws.s3.Bucket("data", bucket="art32-data", opts=here)
    aws.s3.BucketLifecycleConfiguration(
        "data",
        bucket=bucket.id,
        rules=[
            {
                "id": "tidy",
                "status": "Enabled",
                "filter": {"prefix": ""},
                "noncurrent_version_expiration": {"noncurrent_days": 1},
            }
        ],
        opts=here,
    )
    aws.s3.BucketPolicy(
        "data",
        bucket=bucket.id,
        policy=pulumi.Output.json_dumps(
            {
                "Version": "2012-10-17",
                "Statement": [
                    {
                        "Effect": "Deny",
                        "Principal": "*",
                        "Action": "s3:*",
                        "Resource": pulumi.Output.concat(bucket.arn, "/${aws:userid}/*"),
                    }
                ],
            }
        ),
        opts=here,
    )
    certificate = aws.acm.Certificate("site", domain_name="example.org", opts=here)
    option = certificate.domain_validation_options[0]
    aws.route53.Record(
        "site",
        zone_id="Z1",
        name=option.resource_record_name,
        type="CNAME",
        records=[option.resource_record_value],
        ttl=60,
        opts=ResourceOptions(provider=provider, depends_on=[bucket], ignore_changes=["ttl"]),
    )


@pytest.fixture(scope="module")
def built() -> dict[str, Any]:
    return configuration(capture(program))


def body(built: dict[str, Any], kind: str, name: str) -> dict[str, Any]:
    found: dict[str, Any] = built["resource"][kind][name]
    return found


def test_references_become_expressions_and_variables_of_policies_are_escaped(
    built: dict[str, Any],
) -> None:
    assert body(built, "aws_s3_bucket_policy", "data")["bucket"] == "${aws_s3_bucket.data.id}"
    document = json.loads(body(built, "aws_s3_bucket_policy", "data")["policy"])
    assert document["Statement"][0]["Resource"] == "${aws_s3_bucket.data.arn}/$${aws:userid}/*"
    record = body(built, "aws_route53_record", "site")
    base = "tolist(aws_acm_certificate.site.domain_validation_options)[0]"
    assert record["name"] == f"${{{base}.resource_record_name}}"
    assert record["depends_on"] == ["aws_s3_bucket.data"]
    assert record["lifecycle"] == [{"ignore_changes": ["ttl"]}]


def test_an_object_that_stands_once_becomes_a_list_and_a_plural_a_singular(
    built: dict[str, Any],
) -> None:
    (rule,) = body(built, "aws_s3_bucket_lifecycle_configuration", "data")["rule"]
    assert rule["noncurrent_version_expiration"] == [{"noncurrent_days": 1}]
    assert rule["filter"] == [{"prefix": ""}]


def test_a_region_is_the_providers(built: dict[str, Any]) -> None:
    assert [one["region"] for one in built["provider"]["aws"]] == ["eu-west-3"]


def test_no_configuration_reaches_for_credentials_or_the_internet(built: dict[str, Any]) -> None:
    (provider,) = built["provider"]["aws"]
    assert provider["skip_metadata_api_check"] is True
    assert provider["access_key"] == "none"
    (offline,) = configuration(capture(program), endpoint="http://127.0.0.1:1")["provider"]["aws"]
    assert set(offline["endpoints"][0].values()) == {"http://127.0.0.1:1"}


def test_a_reference_to_what_is_left_out_becomes_a_constant() -> None:
    built = configuration(capture(program), skip={"aws_s3_bucket"})
    assert "aws_s3_bucket" not in built["resource"]
    assert "${" not in body(built, "aws_s3_bucket_policy", "data")["bucket"]


def test_a_plan_has_what_is_known_and_refers_to_what_is_not() -> None:
    made = plan(capture(program))
    resources = {
        one["address"]: one["values"] for one in made["planned_values"]["root_module"]["resources"]
    }
    policy = resources["aws_s3_bucket_policy.data"]
    assert "bucket" not in policy
    statement = json.loads(policy["policy"])["Statement"][0]
    assert statement["Resource"] == "arn:aws:s3:::art32-data/${aws:userid}/*"
    expressions = {
        one["address"]: one["expressions"]
        for one in made["configuration"]["root_module"]["resources"]
    }
    references = expressions["aws_s3_bucket_policy.data"]["bucket"]["references"]
    assert references == ["aws_s3_bucket.data.id", "aws_s3_bucket.data"]


def test_an_unset_member_of_an_object_is_a_zero_value_and_never_null() -> None:
    def open_group() -> None:
        aws.ec2.SecurityGroup(
            "open",
            ingress=[
                {"protocol": "tcp", "from_port": 22, "to_port": 22, "cidr_blocks": ["0.0.0.0/0"]}
            ],
        )

    (group,) = plan(capture(open_group))["planned_values"]["root_module"]["resources"]
    (rule,) = group["values"]["ingress"]
    assert (rule["ipv6_cidr_blocks"], rule["self"], rule["description"]) == ([], False, "")


def slip() -> None:
    options: Any = {"http_tokenz": "required"}
    aws.ec2.LaunchTemplate("web", metadata_options=options)


def stranger() -> None:
    aws.workspaces.Directory("d", directory_id="d-1")


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (slip, "aws_launch_template.metadata_options.http_tokenz"),
        (stranger, "aws:workspaces/directory:Directory"),
    ],
)
def test_what_has_no_counterpart_is_said(made: Callable[[], None], expected: str) -> None:
    assert convert(capture(made)).unmapped == [expected]


def test_two_resources_of_one_address_are_refused() -> None:
    def twice() -> None:
        aws.s3.Bucket("a.b")
        aws.s3.Bucket("a_b")

    with pytest.raises(ValueError, match=r"share an address: aws_s3_bucket\.a_b$"):
        convert(capture(twice))
