"""A program's registrations are kept as the engine would have received them."""

from __future__ import annotations

import inspect
import json
from dataclasses import dataclass

import pulumi
import pulumi_aws as aws
import pytest
from pulumi import ResourceOptions

from infra.capture import capture
from infra.graph import MARKER, Graph, markers


class Store(pulumi.ComponentResource):
    def __init__(self, name: str) -> None:
        super().__init__("art32:test:Store", name, None, ResourceOptions(protect=True))
        inside = ResourceOptions(parent=self, retain_on_delete=True)
        self.bucket = aws.s3.Bucket(f"{name}-bucket", opts=inside)
        document = pulumi.Output.json_dumps(
            {"Resource": pulumi.Output.concat(self.bucket.arn, "/*"), "Key": "${aws:username}/*"}
        )
        self.policy = aws.s3.BucketPolicy(
            f"{name}-policy", bucket=self.bucket.id, policy=document, opts=inside
        )
        self.register_outputs({})


@dataclass(frozen=True)
class Outputs:
    bucket: pulumi.Output[str]
    password: pulumi.Output[str]


def program() -> Outputs:
    store = Store("data")
    aws.rds.Instance(
        "db",
        instance_class="db.t4g.micro",
        password=pulumi.Output.secret("correct horse"),
        opts=ResourceOptions(
            depends_on=[store.bucket], ignore_changes=["engineVersion"], protect=False, parent=store
        ),
    )
    pulumi.export("exported", store.bucket.bucket_regional_domain_name)
    return Outputs(store.bucket.id, pulumi.Output.secret("correct horse"))


@pytest.fixture(scope="module")
def graph() -> Graph:
    return capture(program, project="art32", stack="prod")


def test_every_option_of_a_registration_is_kept(graph: Graph) -> None:
    (bucket,) = graph.of("aws:s3:Bucket")
    assert (bucket.name, bucket.custom, bucket.protect, bucket.retain) == (
        "data-bucket",
        True,
        True,
        True,
    )
    (database,) = graph.of("aws:rds:Instance")
    assert (database.protect, database.retain) == (False, False)
    assert database.secrets == ("password",)
    assert database.ignore_changes == ("engineVersion",)
    assert bucket.urn in database.dependencies


def test_a_urn_is_what_the_engine_would_give(graph: Graph) -> None:
    (bucket,) = graph.of("aws:s3:Bucket")
    assert bucket.urn == (
        "urn:pulumi:prod::art32::art32:test:Store$aws:s3/bucket:Bucket::data-bucket"
    )
    component = graph.component(bucket)
    assert component is not None
    assert (component.name, component.custom, component.parent) == ("data", False, "")


def test_the_source_is_the_line_of_the_program(graph: Graph) -> None:
    lines, first = inspect.getsourcelines(Store.__init__)
    line = first + next(i for i, text in enumerate(lines) if "aws.s3.Bucket(" in text)
    (bucket,) = graph.of("aws:s3:Bucket")
    assert bucket.source == f"tests/infra/test_capture.py:{line}"


def test_an_unknown_output_is_a_marker_wherever_it_went(graph: Graph) -> None:
    (policy,) = graph.of("aws:s3:BucketPolicy")
    document = policy.document("policy")
    assert document == {
        "Resource": "@@aws:s3/bucket:Bucket::data-bucket::arn@@/*",
        "Key": "${aws:username}/*",
    }
    (marker,) = markers(document)
    (bucket,) = graph.of("aws:s3:Bucket")
    assert graph.find(marker) == bucket
    assert graph.targets(policy) == (bucket,)
    assert graph.users(bucket) == (policy,)
    assert graph.attached(bucket, "aws:s3:BucketPolicy", "bucket") == (policy,)


def test_outputs_are_resolved_and_secrets_among_them_named(graph: Graph) -> None:
    assert MARKER.fullmatch(graph.outputs["bucket"])
    assert "exported" in graph.outputs
    assert graph.secret_outputs == ("password",)


def test_a_graph_survives_being_saved_and_is_the_same_each_time(graph: Graph) -> None:
    text = graph.to_json()
    assert Graph.from_json(text) == graph
    assert capture(program, project="art32", stack="prod").to_json() == text
    other = capture(program, project="art32", stack="staging")
    assert {one.urn for one in other.resources}.isdisjoint(graph.by_urn)


@pytest.mark.parametrize("text", ["[]", "{}", json.dumps({"format": 99})])
def test_what_is_no_saved_graph_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a saved graph of format"):
        Graph.from_json(text)


def test_computed_lists_and_objects_can_be_used() -> None:
    def zone() -> None:
        certificate = aws.acm.Certificate("site", domain_name="example.org")
        option = certificate.domain_validation_options[0]
        aws.route53.Record(
            "validation",
            zone_id="Z1",
            name=option.resource_record_name,
            type=option.resource_record_type,
            records=[option.resource_record_value],
            ttl=60,
        )

    (record,) = capture(zone).of("aws:route53:Record")
    assert record.get("records.0") == (
        "@@aws:acm/certificate:Certificate::site::domainValidationOptions[0].resourceRecordValue@@"
    )


def test_an_error_in_a_late_apply_is_not_swallowed() -> None:
    def broken() -> None:
        bucket = aws.s3.Bucket("b")
        bucket.arn.apply(lambda arn: 1 / 0 if arn else None)

    with pytest.raises(ZeroDivisionError):
        capture(broken)


def test_two_resources_of_one_name_are_refused() -> None:
    def twice() -> None:
        aws.s3.Bucket("b")
        aws.s3.Bucket("b")

    with pytest.raises(ValueError, match=r"two resources share a URN: .*::b$"):
        capture(twice)


def test_a_call_that_needs_credentials_is_noted() -> None:
    assert capture(lambda: {"zone": aws.get_caller_identity_output()}).invokes == (
        "aws:index/getCallerIdentity:getCallerIdentity",
    )
