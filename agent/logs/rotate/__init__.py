"""Rotation without losing a line: cut, wait until the writer has let go, ship, unlink.

A segment has three states, by names alone: a file `*.raw`; that file and its signed manifest in the
store; no file. Whatever is killed in between begins again with the file.
"""
