"""A stack in a real account, on request: see `__main__.py`."""
