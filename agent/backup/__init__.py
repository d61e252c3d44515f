"""Backups: what is dumped, how it becomes objects in a store, and how it comes back."""
