"""Documents from files and data sets, one after another, as the `datasets` library streams them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from salt_ext.errors import InputError, brief
from salt_ext.files.digest import file_sha256
from salt_ext.files.paths import expanded, require_file, require_regular

# The reader of `datasets` by the ending of a file's name; any other file is lines of text.
_READERS = {".csv": "csv", ".json": "json", ".jsonl": "json", ".parquet": "parquet", ".tsv": "csv"}
_COLUMN = "text"


@dataclass(frozen=True)
class Source:
    """A text that the user named.

    Attributes:
        name: as it was named.
        key: changes with the text: a hash of a file's bytes, or the version of a data set.
        stream: an iterable data set of `datasets` with the column `column`.
        column: which holds the documents.
    """

    name: str
    key: str
    stream: Any
    column: str

    def documents(self) -> Iterator[str]:
        """The documents that are not blank, without line ends behind them; a long text is never in memory whole.

        Raises:
            InputError: it cannot be read, or is not UTF-8.
        """
        try:
            for row in self.stream:
                document = row[self.column]
                if isinstance(document, str) and document.strip():
                    yield document.rstrip("\r\n")
        except InputError:
            raise
        except UnicodeDecodeError as error:
            raise _not_text(self.name, error) from None
        except Exception as error:  # of pyarrow, pandas, fsspec, the network
            raise InputError(f"text {self.name} cannot be read: {brief(error)}") from error


def open_sources(texts: Sequence[str | Path], *, what: str) -> list[Source]:
    """Opens texts; of data sets the split `train` is read.

    Args:
        texts: each a file, a folder that `datasets` opens, or a hub name, NAME or NAME:CONFIGURATION.
        what: what the user calls them, for messages.

    Raises:
        InputError: there is no such text, or it has no column of documents.
    """
    return [_open(text, what) for text in texts]


def local_paths(texts: Iterable[str | Path]) -> list[Path]:
    """Those that lie on this machine, which an output must not replace."""
    return [path for text in texts if (path := expanded(text)).exists()]


def _open(text: str | Path, what: str) -> Source:
    import datasets

    path, name = expanded(text), str(text)
    try:
        if path.is_dir():
            if (path / "state.json").is_file():
                loaded = datasets.load_from_disk(str(path))
                split = loaded["train"] if isinstance(loaded, datasets.DatasetDict) else loaded
                return _source(name, split._fingerprint, split.to_iterable_dataset(), what)
            builder = datasets.load_dataset_builder(str(path))
            stream = datasets.load_dataset(str(path), split="train", streaming=True)
            return _source(name, f"{builder.cache_dir}", stream, what)
        if path.exists() or isinstance(text, Path) or path.suffix.lower() in (".txt", *_READERS):
            require_regular(path, what)
            require_file(path, what)
            reader = _READERS.get(path.suffix.lower(), "text")
            options = {"sep": "\t"} if path.suffix.lower() == ".tsv" else {}
            stream = datasets.load_dataset(reader, data_files=[str(path)], split="train", streaming=True, **options)
            return _source(name, file_sha256(path), stream, what)
        repository, _, configuration = name.partition(":")
        builder = datasets.load_dataset_builder(repository, configuration or None)
        stream = datasets.load_dataset(repository, configuration or None, split="train", streaming=True)
        return _source(name, str(builder.cache_dir), stream, what)
    except InputError:
        raise
    except UnicodeDecodeError as error:
        raise _not_text(name, error) from None
    except Exception as error:  # of any kind: the library raises its own, the hub's, pyarrow's and the system's
        raise InputError(f"{what} {name} is no file and no data set that can be opened: {brief(error)}") from error


def _source(name: str, key: str, stream: Any, what: str) -> Source:
    columns = stream.column_names or list(next(iter(stream), {}))
    if _COLUMN in columns:
        return Source(name, key, stream, _COLUMN)
    if len(columns) == 1:
        return Source(name, key, stream, columns[0])
    raise InputError(f"{what} {name} has the columns {', '.join(columns) or 'none'}; expected one named {_COLUMN}")


def _not_text(name: str, error: UnicodeDecodeError) -> InputError:
    return InputError(f"text {name} is not UTF-8: {brief(error)}")
