"""Art32's host agent: encrypted backups that restore with stock tools."""

__version__ = "0.1.0"
