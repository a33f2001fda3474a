"""The packages that a training needs beyond those of a transfer."""

from __future__ import annotations

from importlib.util import find_spec

from salt_ext.errors import InputError

_INSTALL = "pip install 'salt-ext[adapt]'"
# The names that a package index knows, where they are not those of the modules.
_NAMES = {"yaml": "pyyaml"}


def require(*modules: str, what: str) -> None:
    """Checks that modules are installed; none is imported.

    Args:
        modules: their names, as they are imported.
        what: what needs them, the beginning of the sentence.

    Raises:
        InputError: naming those that are missing, and the command that installs them.
    """
    missing = [_NAMES.get(module, module) for module in modules if find_spec(module) is None]
    if missing:
        verb = "is" if len(missing) == 1 else "are"
        command = "pip install tensorboard" if missing == ["tensorboard"] else _INSTALL
        raise InputError(f"{what} needs {' and '.join(missing)}, which {verb} not installed: {command}")
