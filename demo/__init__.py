"""`make demo`: the main job of art32 from end to end, on generated data, with throw-away keys.

It runs the very commands that a host and a restorer run, with a configuration of the same form,
prints them as one would type them, and checks what comes back. `python -m demo --help`.
"""
