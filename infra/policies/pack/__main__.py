"""The policy pack: `pulumi preview --policy-pack infra/policies/pack`."""

import sys
from pathlib import Path

from pulumi_policy import PolicyPack

_ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(_ROOT))

from infra.policies.engine import Collector  # noqa: E402

PolicyPack(name="art32", policies=list(Collector().policies()))
