"""The command line, salt-ext: one file a command; each parses, calls and prints."""

from __future__ import annotations

from salt_ext.cli.app import main, run

__all__ = ["main", "run"]
