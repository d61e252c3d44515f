"""One document that runs a verb of the agent on the machines of a stack, and who may use it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pulumi
import pulumi_aws.cloudwatch as cloudwatch
import pulumi_aws.iam as iam
import pulumi_aws.ssm as ssm

from infra import naming
from infra.component import Component
from infra.config.model import InfraConfig
from infra.documents import allow, document

VERBS = (
    *(f"backup {verb}" for verb in ("ages", "list", "prune", "run", "show", "verify")),
    *(f"config {verb}" for verb in ("check", "show")),
    "doctor",
    *(f"drill {verb}" for verb in ("run", "status")),
    "health",
    *(f"host {verb}" for verb in ("enrol", "list")),
    *(f"logs {verb}" for verb in ("list", "prune", "rotate")),
    *(f"runbook {verb}" for verb in ("list", "show")),
    *(f"service {verb}" for verb in ("apply", "list")),
)
"""What may be run on many machines. A verb that is not named is refused: those that print what was
backed up or logged (its output is kept in a log), those that wait for a person or never end, and
those that decide whose backups count."""
PATTERN = rf"^({'|'.join(VERBS)})( (--)?[A-Za-z0-9][A-Za-z0-9_.,:=@+-]*)*$"
"""A verb, then options and names. No slash: no file of the machine can be named, to be read or to
be written, and no character that a shell knows. Read alike by Java, bash and Python."""
LONGEST = 300
PURPOSE = "runs"


@dataclass(frozen=True)
class FleetArgs:
    """The configuration and the key of logs."""

    config: InfraConfig
    logs_key_arn: pulumi.Input[str]


class Fleet(Component[InfraConfig]):
    """The document `art32-<stack>-run`, the log of its results, the policy of who may run it.

    Protects against: a shell on every machine for whoever has to start a backup, a parameter that
    becomes a command, and results that nobody finds. The policy lets its holder run this document
    on the machines of this stack, and nothing else; attach it to the people on call.
    """

    area = "fleet"

    def __init__(
        self, name: str, args: FleetArgs, options: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__(name, args.config, options)
        config = self.config
        group = naming.log_group(config, PURPOSE)
        cloudwatch.LogGroup(
            "runs",
            name=group,
            retention_in_days=config.log_days,
            kms_key_id=args.logs_key_arn,
            tags=self.tags("runs", personal_data=False, retention_days=config.log_days),
            opts=self.child(),
        )
        self.document = ssm.Document(
            "run",
            name=naming.prefixed(config, "run"),
            document_type="Command",
            document_format="JSON",
            content=pulumi.Output.json_dumps(content()),
            tags=self.tags("run"),
            opts=self.child(),
        )
        self.policy = iam.Policy(
            "run",
            name=naming.role(config, "run"),
            description="Run a verb of Art32 on the machines of the stack, and read what it said",
            policy=document(
                allow(
                    "RunTheDocument",
                    "ssm:SendCommand",
                    naming.arn(config, "ssm", f"document/{naming.prefixed(config, 'run')}"),
                ),
                allow(
                    "OnMachinesOfTheStack",
                    "ssm:SendCommand",
                    naming.arn(config, "ec2", "instance/*"),
                    condition={"StringEquals": {"ssm:resourceTag/Art32Stack": config.stack}},
                ),
                allow(
                    "SeeHowItWent",
                    ["ssm:GetCommandInvocation", "ssm:ListCommandInvocations", "ssm:ListCommands"],
                    "*",
                ),
                allow(
                    "ReadWhatItSaid",
                    ["logs:FilterLogEvents", "logs:GetLogEvents", "logs:DescribeLogStreams"],
                    naming.arn(config, "logs", f"log-group:{group}:*"),
                ),
            ),
            tags=self.tags("run"),
            opts=self.child(),
        )
        self.register_outputs({"document": self.document.name})


def content() -> Mapping[str, Any]:
    """Return the document (schema 2.2 of Systems Manager)."""
    return {
        "schemaVersion": "2.2",
        "description": "Run a verb of Art32",
        "parameters": {
            "verb": {
                "type": "String",
                "description": "The verb with its options, as in: backup run --dry-run",
                "allowedPattern": PATTERN,
                "maxChars": LONGEST,
            }
        },
        "mainSteps": [
            {
                "action": "aws:runShellScript",
                "name": "run",
                "inputs": {"timeoutSeconds": "21600", "runCommand": commands()},
            }
        ],
    }


def commands() -> list[str]:
    """Return the script. Systems Manager writes the parameter into its text, so it stands where
    nothing is expanded, is looked at again, and reaches the agent as words."""
    return [
        "#!/bin/bash",
        "set -euo pipefail",
        "IFS= read -r line <<'END_OF_THE_VERB'",
        "{{ verb }}",
        "END_OF_THE_VERB",
        f"pattern={shlex.quote(PATTERN)}",
        f'if [[ ! $line =~ $pattern ]] || [ "${{#line}}" -gt {LONGEST} ]; then',
        "  echo 'art32: this is no verb that may be run on many machines' >&2",
        "  exit 2",
        "fi",
        'work=$(mktemp -d); trap \'rm -rf "$work"\' EXIT; cd "$work"',
        'IFS=" " read -r -a words <<<"$line"',
        '/usr/bin/art32 "${words[@]}"',
    ]


def run_now(config: InfraConfig) -> str:
    """Return the command line that runs a verb on all machines, to be completed."""
    log = f"CloudWatchLogGroupName={naming.log_group(config, PURPOSE)},CloudWatchOutputEnabled=true"
    return (
        f"aws ssm send-command --region {config.region}"
        f" --document-name {naming.prefixed(config, 'run')}"
        f" --targets Key=tag:Art32Patch,Values={config.stack}"
        f" --cloud-watch-output-config {log} --parameters verb='health'"
    )


def takes_no_shell(pattern: str) -> bool:
    """Tell whether a document's pattern is anchored and refuses whatever a shell would expand."""
    try:
        compiled = re.compile(pattern)
    except re.error:
        return False
    words = ("health", "backup run", "x")
    hostile = [word + tail for word in words for tail in HOSTILE]
    return pattern.startswith("^") and not any(compiled.search(text) for text in hostile)


HOSTILE = (
    *("; id", " ; id", "&& id", "| id", " & id", "$(id)", " $(id)", "`id`", " ${HOME}", " $HOME"),
    *("\nid", "\n\nid", " >/etc/passwd", " </etc/shadow", " *", " ~", " 'a'", ' "a"', " \\", " #"),
    *(" /etc/passwd", " --save /etc/passwd", " ../x", " -", " {{ssm:x}}", "\rid", "\x00", " é"),
)
"""Ends that would do more than the verb says, where a shell reads them."""
