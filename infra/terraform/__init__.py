"""Turns a captured graph into Terraform's plan and configuration, for tools that know those.

Scanners read plans, and the real AWS provider validates, plans and applies configurations; both say
about a Pulumi program what mocks alone cannot. Nothing here starts Terraform or needs it: what the
conversion has to know about types stands in `schema.json`, an extract of the provider's own schema.
"""

from infra.terraform.configuration import configuration
from infra.terraform.convert import Conversion, convert
from infra.terraform.plan import plan
from infra.terraform.schema import Schema, load

__all__ = ["Conversion", "Schema", "configuration", "convert", "load", "plan"]
