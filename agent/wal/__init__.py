"""What PostgreSQL starts: `art32 wal push` and `art32 wal fetch`, once for each segment.

They hold no key and no right, and import the standard library alone, so that they start at once;
the other end of the socket is `agent.backup.wal.service`.
"""
