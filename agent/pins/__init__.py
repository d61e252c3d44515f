"""The list of pinned hosts: which keys sign for which host, signed by a root key, in the store."""
