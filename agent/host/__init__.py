"""Hosts and their signing keys: a host enrols its own, a person accepts or retires it."""
