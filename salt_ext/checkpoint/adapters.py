"""A model folder in which somebody left an adapter, opened as the model that its weights are."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from salt_ext.checkpoint.companions import ADAPTER_FILE


@contextmanager
def without_adapter(folder: Path) -> Iterator[Path]:
    """A folder from which transformers loads the weights of a model folder and nothing else.

    Where peft is installed, `from_pretrained` applies an adapter that lies beside the weights, or even loads the model
    that the adapter was made for. In a folder of links without it, there is none to be found.

    Args:
        folder: a model folder, absolute.

    Yields:
        The folder itself where it holds no adapter.
    """
    if not (folder / ADAPTER_FILE).exists():
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="salt-model-") as place:
        view = Path(place) / folder.name
        view.mkdir()
        for entry in folder.iterdir():
            if not entry.name.startswith("adapter_"):
                (view / entry.name).symlink_to(entry)
        yield view
