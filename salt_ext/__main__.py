"""python -m salt_ext."""

from __future__ import annotations

from salt_ext.cli import main

if __name__ == "__main__":  # a data loader's process imports this file again
    main()
