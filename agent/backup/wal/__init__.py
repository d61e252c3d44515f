"""PostgreSQL's write-ahead log, one signed and encrypted object a segment.

Objects stand at `wal/<host>/<system id>/<timeline>/<name>-<random>.pgp` below the store's prefix:
`place` has their names, `names` those of PostgreSQL with their arithmetic, `timelines` reads
`.history` files, `listing` reads the store, `seal` and `opening` are the format. Other packages
may count on these five. `service`, `push`, `fetch` and `marks` are the two ends of a socket that
PostgreSQL's commands, `client`, talk to; only `client` runs in PostgreSQL's hands, and it imports
the standard library alone.
"""
