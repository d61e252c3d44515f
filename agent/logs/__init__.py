"""Logs: attacks found, personal data taken out, rotated and shipped without losing a line."""
