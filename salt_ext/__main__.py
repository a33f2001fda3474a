"""python -m salt_ext."""

from __future__ import annotations

from salt_ext.cli import main

main()
