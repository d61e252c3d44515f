"""Where personal data may lie: the regions in the EU and the EEA, and each region's partition."""

from __future__ import annotations

EEA_REGIONS = {
    "eu-central-1": "Frankfurt, Germany",
    "eu-north-1": "Stockholm, Sweden",
    "eu-south-1": "Milan, Italy",
    "eu-south-2": "Aragon, Spain",
    "eu-west-1": "Ireland",
    "eu-west-3": "Paris, France",
    "eusc-de-east-1": "Brandenburg, Germany (European Sovereign Cloud)",
}
"""Zurich (eu-central-2) and London (eu-west-2) are outside of the EEA, whatever their names say."""

DNS_SUFFIXES = {"aws": "amazonaws.com", "aws-eusc": "amazonaws.eu"}
"""What each partition's host names and service principals end in (botocore's partitions.json)."""


def partition_of(region: str) -> str:
    """Return the partition that a region belongs to."""
    return "aws-eusc" if region.startswith("eusc-") else "aws"
