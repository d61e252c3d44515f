"""Puts into the account's artifact bucket what machines install: `python -m infra.publish`."""
