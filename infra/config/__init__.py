"""A stack's configuration: read, checked as a whole, frozen before any resource exists."""

from infra.config.checks import Problem
from infra.config.load import PROJECT, ConfigError, load, parse, parse_file
from infra.config.model import Generation, InfraConfig

__all__ = [
    "PROJECT",
    "ConfigError",
    "Generation",
    "InfraConfig",
    "Problem",
    "load",
    "parse",
    "parse_file",
]
