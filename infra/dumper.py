"""The dumper: dumps a managed database, encrypts the dump, writes it to the backup bucket."""

from __future__ import annotations

from dataclasses import dataclass

import pulumi
import pulumi_aws.iam as iam
import pulumi_aws.ssm as ssm

from infra import machine, naming
from infra.agent_file import BACKUP_USER, DATABASE, RDS_CERTIFICATES
from infra.component import Component
from infra.config.model import InfraConfig
from infra.documents import allow, document
from infra.machine import Group, Machine

SETUP_TAG = "Art32Setup"
"""A tag of the role that opens the master secret for the time of the set-up."""


@dataclass(frozen=True)
class DumperArgs:
    """The private subnets, the machine, and the database that it dumps."""

    config: InfraConfig
    subnet_ids: list[pulumi.Output[str]]
    machine: Machine
    role_id: pulumi.Input[str]
    database_address: pulumi.Input[str]
    master_secret_arn: pulumi.Input[str]


class Dumper(Component[InfraConfig]):
    """A group of one machine with the writer's rights and a login that reads the database.

    Protects against: a managed database that only its own provider's snapshots can bring back. It
    logs in by IAM, without a password, as a role that can read and nothing else. The set-up
    document, run once by a person, makes that role; it reads the master secret, which the
    dumper's role may only while it carries the tag `Art32Setup`.
    """

    area = "dumper"

    def __init__(
        self, name: str, args: DumperArgs, options: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__(name, args.config, options)
        config = self.config
        machine.log_group(self, "dumper", args.machine.logs_key_arn)
        machine.self_healing_group(self, args.machine, Group(args.subnet_ids))
        iam.RolePolicy(
            "dumper-setup",
            role=args.role_id,
            policy=document(
                allow(
                    "ReadMasterSecretWhileSettingUp",
                    "secretsmanager:GetSecretValue",
                    args.master_secret_arn,
                    condition={"StringEquals": {f"aws:PrincipalTag/{SETUP_TAG}": "yes"}},
                ),
                allow(
                    "DecryptItWhileSettingUp",
                    "kms:Decrypt",
                    args.machine.disk_key_arn,
                    condition={
                        "StringEquals": {
                            f"aws:PrincipalTag/{SETUP_TAG}": "yes",
                            "kms:ViaService": naming.endpoint(config, "secretsmanager"),
                        }
                    },
                ),
            ),
            opts=self.child(),
        )
        self.setup = ssm.Document(
            "dumper-setup",
            name=naming.prefixed(config, "backup-role"),
            document_type="Command",
            document_format="JSON",
            content=pulumi.Output.json_dumps(
                {
                    "schemaVersion": "2.2",
                    "description": f"Create the database role {BACKUP_USER}",
                    "mainSteps": [
                        {
                            "action": "aws:runShellScript",
                            "name": "create",
                            "inputs": {
                                "timeoutSeconds": "120",
                                "runCommand": setup_commands(
                                    config, args.database_address, args.master_secret_arn
                                ),
                            },
                        }
                    ],
                }
            ),
            tags=self.tags("dumper-setup"),
            opts=self.child(),
        )
        self.register_outputs({"setup": self.setup.name})


def setup_commands(
    config: InfraConfig, address: pulumi.Input[str], secret_arn: pulumi.Input[str]
) -> list[pulumi.Input[str]]:
    """Return the lines that create the backup role.

    The password goes from the answer into a file of mode 0600 that psql reads, and nowhere else.
    """
    return [
        "#!/bin/bash",
        "set -euo pipefail",
        "umask 077",
        "work=$(mktemp -d /run/art32-setup.XXXXXX); trap 'rm -rf \"$work\"' EXIT",
        "ART32_ONLY_DEFINE=yes",
        ". /var/lib/art32/first-boot.sh",
        pulumi.Output.concat(
            "credentials | request --config - --aws-sigv4 aws:amz:",
            config.region,
            ":secretsmanager --header 'Content-Type: application/x-amz-json-1.1'"
            " --header 'X-Amz-Target: secretsmanager.GetSecretValue'"
            ' --data \'{"SecretId": "',
            secret_arn,
            f"\"}}' https://{naming.endpoint(config, 'secretsmanager')}/ |",
        ),
        pulumi.Output.concat(
            "  python3 -c 'import json, sys; found = json.loads(json.load(sys.stdin)"
            '["SecretString"]); escape = lambda text: text.replace("\\\\", "\\\\\\\\")'
            '.replace(":", "\\\\:"); print(":".join(("*", "*", "*", escape(found["username"]),'
            ' escape(found["password"]))))\' >"$work/pgpass"',
        ),
        pulumi.Output.concat(
            'PGPASSFILE="$work/pgpass" PGSSLMODE=verify-full'
            f" PGSSLROOTCERT={RDS_CERTIFICATES} psql --no-psqlrc --quiet"
            f" --set ON_ERROR_STOP=1 --username art32_admin --dbname {DATABASE} --host ",
            address,
            " <<'SQL'",
        ),
        f"DO $$ BEGIN CREATE ROLE {BACKUP_USER} LOGIN;",
        "EXCEPTION WHEN duplicate_object THEN NULL; END $$;",
        f"GRANT rds_iam, pg_read_all_data TO {BACKUP_USER};",
        "SQL",
    ]
