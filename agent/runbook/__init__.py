"""Runbooks: the files that on-call people read, as data, and their blocks, run step by step."""
