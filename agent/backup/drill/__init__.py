"""Drills: a backup is worth what its last rehearsed restore has shown."""
