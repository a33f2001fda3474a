"""What a page is made with."""

from __future__ import annotations

from importlib.util import find_spec

from salt_ext.errors import InputError


def require_jinja() -> None:
    """Checks that jinja2 is there.

    Raises:
        InputError: it is not.
    """
    if find_spec("jinja2") is None:
        raise InputError("diagnose needs jinja2, which is not installed: pip install 'salt-ext[diagnose]'")
