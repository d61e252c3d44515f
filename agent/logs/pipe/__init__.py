"""`art32 logs pipe`: lines come in by a socket or a pipe and reach a disk only when scrubbed.

`flow` takes one way from its source to its output, `serve` runs all of them in one loop. What is
raw is in memory only: in the kernel's queues and in one block of each flow.
"""
