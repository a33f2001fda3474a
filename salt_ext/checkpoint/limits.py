"""A model whose configuration would have transformers make objects until the memory is full is not built.

Two looks: at the numbers whose names say that something is made for each, before transformers reads them, and at how
much is made while it builds.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch.nn.modules import module as torch_module

from salt_ext.errors import InputError

# Far above any model. What transformers makes of such a number: a module for each, or an entry in a list.
_MOST = [
    (re.compile(r".*(layers?|blocks?|stages|codebooks|quantizers)|(.*_)?depths?"), 4096),
    (re.compile(r".*experts"), 65_536),
    (re.compile(r"(.*_)?num_labels|.*num_classes"), 1 << 20),
]
# Parameters, buffers and modules: a model that transformers wrote makes about three for every tensor of its files.
_MADE_PER_TENSOR = 20
_MADE_IN_ANY_CASE = 20_000


class TooLargeError(InputError):
    """A configuration describes more than the checkpoint can hold."""


def check_counts(config: Mapping[str, Any], file: Path) -> None:
    """Looks at the numbers of a configuration and all parts of it.

    Raises:
        InputError: one is absurd.
    """
    pending: list[Mapping[str, Any]] = [config]
    while pending:
        for key, value in pending.pop().items():
            values = value if isinstance(value, list) else [value]
            pending += [inner for inner in values if isinstance(inner, dict)]
            numbers = [inner for inner in values if isinstance(inner, (int, float))]
            most = next((most for pattern, most in _MOST if pattern.fullmatch(key)), None)
            if most is not None and numbers and max(numbers) > most:
                raise InputError(f"{file} states {key} = {max(numbers):.6g}, expected at most {most}")


@contextmanager
def bounded_building(tensors: int, where: str) -> Iterator[None]:
    """While a model is built: it must not have far more parts than its checkpoint has tensors.

    Args:
        tensors: how many tensors the whole checkpoint holds.
        where: the model, for the message.

    Raises:
        TooLargeError: it has; raised from within the building.
    """
    most = _MADE_PER_TENSOR * tensors + _MADE_IN_ANY_CASE
    made, own = 0, threading.get_ident()

    def count(*_: object) -> None:
        nonlocal made
        if threading.get_ident() == own:  # the hooks see the models of other threads as well
            made += 1
            if made > most:
                raise TooLargeError(
                    f"{where}: its configuration describes a model of more than {most} parts, but the checkpoint holds "
                    f"{tensors} tensors"
                )

    hooks = [
        torch_module.register_module_module_registration_hook(count),
        torch_module.register_module_parameter_registration_hook(count),
        torch_module.register_module_buffer_registration_hook(count),
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
