"""OpenPGP through the `gpg` and `gpgv` programs, always in a home of its own.

Only documented machine interfaces are read: `--with-colons`, `--status-fd` (GnuPG's doc/DETAILS)
and the packets themselves (RFC 4880, RFC 9580).
"""
