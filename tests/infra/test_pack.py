"""The shipped policy pack, as a process, asked over gRPC as Pulumi's engine asks it.

The engine itself is on no package registry, so what it would send is made from captured graphs.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc  # type: ignore[import-untyped]  # comes with Pulumi
import pytest
from google.protobuf import struct_pb2  # type: ignore[import-untyped]
from pulumi.runtime.proto import analyzer_pb2, analyzer_pb2_grpc
from pulumi_policy import proxy

from infra.graph import MARKER, Graph, Resource, transform
from infra.policies import all_rules
from tests.infra import cases
from tests.infra.test_bad_twins import both, put

PACK = Path(__file__).parent.parent.parent / "infra" / "policies" / "pack"
CASE = ("standard", "rds", "ses", "none", "2", "1", "1", "lasting")
messages: Any = analyzer_pb2


@pytest.fixture
def pack(tmp_path: Path) -> Iterator[Any]:
    started = subprocess.Popen(
        [sys.executable, "-u", str(PACK), "127.0.0.1:0"],
        stdout=subprocess.PIPE,
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
    )
    try:
        assert started.stdout is not None
        port = int(started.stdout.readline())
        size = 64 << 20
        options = [
            ("grpc.max_receive_message_length", size),
            ("grpc.max_send_message_length", size),
        ]
        with grpc.insecure_channel(f"127.0.0.1:{port}", options=options) as channel:
            stub: Any = analyzer_pb2_grpc.AnalyzerStub(channel)
            yield stub
        started.stdout.close()
    finally:
        started.kill()
        started.wait()


def structure(inputs: Any) -> Any:
    """Return inputs as the engine sends them at a preview: unknown where a marker is."""

    def hidden(text: str) -> str:
        return proxy.UNKNOWN_STRING_VALUE if MARKER.search(text) else text

    made: Any = struct_pb2.Struct()
    made.update({key: one for key, one in transform(inputs, hidden).items() if one is not None})
    return made


def provider_of(graph: Graph, one: Resource) -> Any:
    found = graph.by_urn.get(one.provider)
    if found is None:
        return None
    return messages.AnalyzerProviderResource(
        type=found.type, urn=found.urn, name=found.name, properties=structure(found.inputs)
    )


def ask(stub: Any, graph: Graph) -> dict[str, set[str]]:
    """Let the pack see a stack, one resource and then all, and return what it reports by URN."""
    sent = []
    for one in graph.resources:
        options = messages.AnalyzerResourceOptions(
            protect=one.protect, ignoreChanges=list(one.ignore_changes)
        )
        common = {
            "type": one.type,
            "properties": structure(one.inputs),
            "urn": one.urn,
            "name": one.name,
            "options": options,
            "provider": provider_of(graph, one),
        }
        told = stub.Analyze(messages.AnalyzeRequest(**common))
        assert list(told.diagnostics) == []
        # the engine's stack analysis shows outputs: here none, so that only inputs can decide
        common["properties"] = structure({})
        sent.append(
            messages.AnalyzerResource(
                **common,
                parent=one.parent,
                dependencies=list(one.dependencies),
                propertyDependencies={
                    key: messages.AnalyzerPropertyDependencies(urns=list(urns))
                    for key, urns in one.property_dependencies.items()
                },
            )
        )
    answer = stub.AnalyzeStack(messages.AnalyzeStackRequest(resources=sent))
    reported: dict[str, set[str]] = {}
    for one in answer.diagnostics:
        reported.setdefault(one.policyName, set()).add(one.urn)
    return reported


def test_the_pack_has_every_rule(pack: Any) -> None:
    info = pack.GetAnalyzerInfo(messages.google_dot_protobuf_dot_empty__pb2.Empty())
    assert info.name == "art32"
    assert {one.name for one in info.policies} == {"collect", *all_rules()}


def test_the_engine_is_told_what_is_wrong_and_nothing_else(pack: Any) -> None:
    good = cases.graph(CASE)
    assert ask(pack, good) == {}
    spoilt = both(
        put("rds:Instance", "publiclyAccessible", True),
        put("ec2:LaunchTemplate", "metadataOptions.httpTokens", "optional"),
        put("vpc:SecurityGroupIngressRule", "cidrIpv4", "203.0.113.7/32", "web-db-5432"),
    )(good)
    reported = ask(pack, spoilt)
    assert set(reported) == {"database-private", "metadata-by-token-only", "group-to-group"}
    (database,) = good.of("aws:rds:Instance")
    assert reported["database-private"] == {database.urn}
