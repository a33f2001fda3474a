"""A model folder, opened from its headers: what it holds is known before any tensor is read."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import Tensor

from salt_ext.checkpoint.companions import Companions, find_companions
from salt_ext.checkpoint.header import TensorInfo, read_header
from salt_ext.checkpoint.hub import local_folder
from salt_ext.checkpoint.layout import Layout, find_layout, read_config, read_json_object, require_model
from salt_ext.checkpoint.one_vocabulary import check_one_vocabulary
from salt_ext.checkpoint.pickled import read_pickled
from salt_ext.checkpoint.reading import read_rows, read_tensor
from salt_ext.checkpoint.tensors import ModelOptions, Skeleton, VocabularyTensors, input_key, open_skeleton
from salt_ext.errors import InputError
from salt_ext.files.paths import require_regular

_NO_OPTIONS = ModelOptions()


class Checkpoint:
    """A model folder, its weights in safetensors or in torch's own files, single or sharded. Use `Checkpoint.open`.

    Attributes:
        folder: the folder, absolute.
        what: what the user calls this model ("source", "donor"); messages begin with it.
        options: what the user said about the model beyond its configuration.
        config: config.json as it stands.
        generation_config: generation_config.json as it stands, None where there is none.
        tensors: every tensor by key, from the files' headers; with `only_input` those of one file.
        pickled: whether the weights are torch's own files.
        index: the metadata of the index of a sharded checkpoint, None for a single file.
    """

    def __init__(
        self,
        folder: Path,
        what: str,
        options: ModelOptions,
        config: dict[str, Any],
        tensors: dict[str, TensorInfo],
        layout: Layout,
    ) -> None:
        self.folder = folder
        self.what = what
        self.options = options
        self.config = config
        self.tensors = tensors
        self.pickled = layout.pickled
        self.index = layout.metadata
        generation = folder / "generation_config.json"
        self.generation_config = read_json_object(generation) if generation.exists() else None

    @classmethod
    def open(
        cls,
        name_or_path: str | Path,
        *,
        what: str = "source",
        options: ModelOptions = _NO_OPTIONS,
        only_input: bool = False,
    ) -> Checkpoint:
        """Opens a model folder, or downloads it first when `name_or_path` is a name on the hub.

        Args:
            name_or_path: a folder, or a hub name such as "org/name".
            what: what the user calls this argument, for the messages.
            options: what the user says about the model beyond its configuration.
            only_input: only the file that holds the input table is needed: no other is fetched, opened or checked, and
                `vocabulary_tensors` is not to be asked.

        Raises:
            InputError: there is no such model, its configuration is missing or invalid, it has no weights in a format
                that is read, or one of its files is truncated or corrupt.
        """
        folder = model_folder(name_or_path, what=what, options=options, only_input=only_input)
        try:
            require_model(folder)
            config = read_config(folder)
            if not only_input:
                check_one_vocabulary(folder, config)
            layout = find_layout(folder)
        except InputError as error:
            raise InputError(f"{what}: {error}") from error
        chosen = None
        if only_input and layout.shards is not None:
            chosen = input_key(folder, layout.shards, what=what, options=options)
        try:
            return cls(folder, what, options, config, _tensors(folder, layout, chosen), layout)
        except InputError as error:
            raise InputError(f"{what}: {error}") from error

    @property
    def files(self) -> list[Path]:
        """The weight files, each once, in order of name."""
        return sorted({tensor.file for tensor in self.tensors.values()})

    def companions(self) -> Companions:
        """The folder's other files as they are now, and which of them a new model needs.

        Raises:
            InputError: the folder cannot be listed.
        """
        return find_companions(self.folder, {file.name for file in self.files})

    def read(self, name: str) -> Tensor:
        """One tensor, in its own dtype, in memory of its own.

        Raises:
            InputError: there is no such tensor, or the file has shrunk since it was opened.
        """
        info = self.tensors.get(name)
        if info is None:
            raise InputError(f"{self.what}: {self.folder} holds no tensor {name!r}")
        try:
            return read_tensor(info)
        except InputError as error:
            raise InputError(f"{self.what}: {error}") from error

    def vocabulary_tensors(self) -> VocabularyTensors:
        """The tensors that the vocabulary indexes, and which are tied. See `VocabularyTensors`.

        Raises:
            InputError: transformers does not know the architecture, or the checkpoint contradicts its configuration.
        """
        return self._vocabulary_tensors

    def input_table(self) -> Tensor:
        """The input embedding table, [rows, hidden], in its own dtype; all that is read of a donor."""
        return self.read(self._skeleton.input)

    def input_rows(self, rows: Sequence[int]) -> Tensor:
        """Some rows of the input embedding table, [len(rows), hidden], in its own dtype; nothing else is read.

        Raises:
            InputError: the file has shrunk since it was opened.
        """
        try:
            return read_rows(self.tensors[self._skeleton.input], rows)
        except InputError as error:
            raise InputError(f"{self.what}: {error}") from error

    @property
    def rows(self) -> int:
        """The rows of the input embedding table, padding rows included."""
        return self.tensors[self._skeleton.input].shape[0]

    @property
    def vocabulary_rows(self) -> int:
        """The rows of the input table that its configuration counts; some families have a few more behind them.

        Raises:
            InputError: see `vocabulary_tensors`.
        """
        return self.rows - self.extra_rows

    @property
    def extra_rows(self) -> int:
        """The rows of the input table behind those, see `VocabularyTensors.extra`.

        Raises:
            InputError: see `vocabulary_tensors`.
        """
        return self.vocabulary_tensors().extra.get(self._skeleton.input, 0)

    def require_rows(self, ids: Iterable[int]) -> None:
        """Checks that every token id has a row in the input table; rows that no id uses (padding) are normal.

        Raises:
            InputError: naming the first ids that lie beyond the table.
        """
        rows = self.rows
        beyond = sorted({token for token in ids if token >= rows})
        if beyond:
            shown = ", ".join(map(str, beyond[:5])) + (", ..." if len(beyond) > 5 else "")
            raise InputError(
                f"{self.what}: {len(beyond)} token ids have no row in the embedding table of {rows} rows: {shown}"
            )

    @cached_property
    def _vocabulary_tensors(self) -> VocabularyTensors:
        """Found once: second copies of a tied tensor are told by comparing all their bytes."""
        return self._skeleton.vocabulary_tensors()

    @cached_property
    def _skeleton(self) -> Skeleton:
        return open_skeleton(self.folder, self.tensors, what=self.what, options=self.options)


def model_folder(
    name_or_path: str | Path, *, what: str, options: ModelOptions = _NO_OPTIONS, only_input: bool = False
) -> Path:
    """The folder of a model, absolute, downloaded first where it is a hub name; see `Checkpoint.open`.

    Raises:
        InputError: there is no such folder, and no such model on the hub; or its index is not valid.
    """

    def choose_key(folder: Path, names: Collection[str]) -> str:
        return input_key(folder, names, what=what, options=options)

    return local_folder(
        name_or_path,
        what=what,
        choose_key=choose_key if only_input else None,
        remote_code=options.trust_remote_code,
    )


def _tensors(folder: Path, layout: Layout, chosen: str | None) -> dict[str, TensorInfo]:
    """The tensors of a model, each from the header of its file; those of the file with the key `chosen` where given."""

    def read(name: str) -> list[TensorInfo]:
        require_regular(folder / name)
        return read_pickled(folder / name) if layout.pickled else read_header(folder / name).tensors

    if layout.shards is None:
        return {tensor.name: tensor for tensor in read(layout.single_file)}
    shards = layout.shards
    wanted = {shards[chosen]} if chosen is not None else set(shards.values())
    held = {shard: {tensor.name: tensor for tensor in read(shard)} for shard in sorted(wanted)}
    tensors = {}
    for name, shard in shards.items():
        if shard in held:
            if name not in held[shard]:
                raise InputError(f"the index of {folder} puts {name} into {shard}, which does not hold it")
            tensors[name] = held[shard][name]
    return tensors
