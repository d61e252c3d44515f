"""The stack as a whole: where it is, what it looks up, which secrets would get into its state."""

from __future__ import annotations

import re
from collections.abc import Iterator

from infra.graph import Graph, Resource, strings
from infra.policies.compute import machines, readable, user_data
from infra.policies.rule import Checked, rule, unless

_EU = re.compile(r"^(eu|eusc-[a-z]+)-[a-z]+-\d+$")
_OUTSIDE = {"eu-west-2", "eu-central-2"}  # London and Zurich: in Europe, not in the EEA
_SECRETS = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY"
    r"|\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"
    r"|\b[a-z][a-z0-9+.-]*://[^/\s:@]+:[^/\s:@]+@"
    r"|(?i:password|passwd|secret|token|api_?key)[\"']?\s*[:=]\s*[\"'][^\"'$@<{\s]{8,}[\"']"
)
_HOLDS_SECRETS = {
    "aws:iam:AccessKey": "is an access key, whose secret stays in the state",
    "aws:iam:UserLoginProfile": "is a password, which stays in the state",
    "aws:iam:User": "is a person or a machine with keys that do not end",
    "random:index:RandomPassword": "is a password, which stays in the state",
    "tls:index:PrivateKey": "is a private key, which stays in the state",
}
_SECRET_KEYS = {
    "password",
    "masterPassword",
    "passwordWo",
    "secretString",
    "secretBinary",
    "secretStringWo",
    "privateKey",
    "authToken",
    "dkimSigningAttributes.domainSigningPrivateKey",
}
SINGLETONS = (
    "aws:guardduty:Detector",
    "aws:cfg:Recorder",
    "aws:cfg:DeliveryChannel",
    "aws:securityhub:Account",
    "aws:accessanalyzer:Analyzer",
    "aws:ebs:EncryptionByDefault",
    "aws:ebs:DefaultKmsKey",
    "aws:ebs:SnapshotBlockPublicAccess",
    "aws:ec2:ImageBlockPublicAccess",
    "aws:ec2:InstanceMetadataDefaults",
    "aws:s3:AccountPublicAccessBlock",
    "aws:iam:AccountPasswordPolicy",
    "aws:account:AlternativeContact",
)


def every(graph: Graph) -> Iterator[Resource]:
    """Yield every resource that a provider makes."""
    for one in graph.resources:
        if one.custom and not one.type.startswith("pulumi:"):
            yield one


@rule(
    "no-secret-in-state",
    "no secret is in the program's state, in user-data or in outputs",
    gdpr="32",
    fsbp="EC2.23 SecretsManager.1",
)
def no_secrets(graph: Graph) -> Checked:
    for one in every(graph):
        problem = _HOLDS_SECRETS.get(one.kind, "")
        # the SDK calls the value of every parameter a secret, that of a plain one too
        plain = one.kind == "aws:ssm:Parameter" and one.get("type") in ("String", "StringList")
        secrets = [path for path in one.secrets if not (plain and path == "value")]
        given = sorted({key for key in _SECRET_KEYS if one.get(key)} | set(secrets))
        if given:
            problem = f"has the secret {', '.join(given)}, which stays in the state"
        shown = next((path for path, text in strings(one.inputs) if _SECRETS.search(text)), "")
        if shown:
            problem = problem or f"has what looks like a secret in {shown}"
        if one.kind == "aws:ssm:Parameter" and one.get("type") == "SecureString":
            problem = problem or "has a secret value, which stays in the state"
        yield one, problem
    for one in machines(graph):
        text = readable(user_data(one) or b"")
        yield (
            one,
            unless(not _SECRETS.search(text), "has what looks like a secret in its user-data"),
        )
    for one in graph.resources[:1]:
        shown = next((path for path, text in strings(graph.outputs) if _SECRETS.search(text)), "")
        names = ", ".join(graph.secret_outputs) or shown
        yield one, unless(not names, f"belongs to a stack whose output {names} is a secret")


@rule("nothing-is-looked-up", "a first preview needs no credentials and no luck", gdpr="32(1)(c)")
def invokes(graph: Graph) -> Checked:
    for one in graph.resources[:1]:
        yield one, unless(not graph.invokes, f"belongs to a program that asks for {graph.invokes}")


@rule("provider-is-named", "every resource says in which account and region it is", gdpr="44")
def providers(graph: Graph) -> Checked:
    for one in every(graph):
        provider = graph.by_urn.get(one.provider)
        named = provider is not None and provider.get("region")
        yield one, unless(named, "goes wherever the shell's AWS_REGION points")
    for one in graph.of("pulumi:providers:aws"):
        yield one, unless(one.get("allowedAccountIds"), "would touch any account")


@rule("data-stays-in-the-eea", "every region is in the European Economic Area", gdpr="44 45 46")
def residency(graph: Graph) -> Checked:
    for one in graph.of("pulumi:providers:aws"):
        yield one, unless(inside_eea(one.get("region")), f"leads to {one.get('region')}")
    for one in every(graph):
        if one.get("region"):
            yield one, unless(inside_eea(one.get("region")), f"is in {one.get('region')}")


def inside_eea(region: object) -> bool:
    """Tell whether a region is in the European Economic Area."""
    return isinstance(region, str) and bool(_EU.match(region)) and region not in _OUTSIDE


@rule(
    "account-settings-stand-apart",
    "what an account has once belongs to the bootstrap: no stack's end switches it off",
    gdpr="32 33",
)
def singletons(graph: Graph) -> Checked:
    for one in graph.of(*SINGLETONS):
        yield (
            one,
            unless(graph.project.endswith("-account"), "is the account's own, not this stack's"),
        )
