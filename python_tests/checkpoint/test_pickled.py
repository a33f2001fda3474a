"""Files of torch.save: what we find in them equals what torch.load reads, and nothing in them is ever run."""

from __future__ import annotations

import os
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path

import pytest
import torch

from salt_ext.checkpoint.pickled import read_pickled
from salt_ext.checkpoint.reading import CHUNK, chunks, read_tensor, same_bytes
from salt_ext.errors import InputError


@pytest.fixture
def file(tmp_path) -> Path:
    return tmp_path / "pytorch_model.bin"


def raw(tensor: torch.Tensor) -> bytes:
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def everything() -> OrderedDict[str, torch.Tensor]:
    base = torch.arange(24.0).reshape(4, 6)
    return OrderedDict(
        base=base,
        rows_of_it=base[1:3],
        columns_of_it=base[:, 2:3],
        every_second_of_it=base[:, ::2],
        transposed=base.T,
        permuted=torch.randn(2, 3, 4).permute(2, 0, 1),
        expanded=torch.randn(3, 1).expand(3, 4),
        tied=base,
        scalar=torch.tensor(3.0),
        empty=torch.empty(0, 7),
        empty_with_strides=torch.empty(4, 0).T,
        parameter=torch.nn.Parameter(torch.randn(2, 2)),
        boolean=torch.tensor([True, False]),
        whole=torch.arange(5),
        small=torch.arange(3).to(torch.uint16),
        half=torch.randn(3).half(),
        brain=torch.randn(3, 5).bfloat16(),
        eight=torch.randn(4).to(torch.float8_e4m3fn),
        double=torch.randn(2).double(),
        complex=torch.randn(2, dtype=torch.complex64),
    )


@pytest.mark.parametrize("version", ["now", "without computable offsets"])
def test_equals_torch_load(file, version):
    torch.save(everything(), file)
    if version != "now":
        # As an older torch writes it: offsets stand in the records' headers only.
        file.write_bytes(file.read_bytes().replace(b".format_version", b".format_VERSION"))
    expected = torch.load(file, weights_only=True)
    tensors = {info.name: info for info in read_pickled(file)}
    assert set(tensors) == set(expected)
    for name, tensor in expected.items():
        info, read = tensors[name], read_tensor(tensors[name])
        assert (read.dtype, read.shape, info.nbytes) == (tensor.dtype, tensor.shape, tensor.nbytes), name
        assert read.is_contiguous()
        assert raw(read) == raw(tensor) == b"".join(map(bytes, chunks(info))), name
    assert same_bytes(tensors["base"], tensors["tied"])
    assert not same_bytes(tensors["base"], tensors["transposed"])


def test_pieces_are_bounded_and_end_between_elements(file):
    table = torch.arange(3 * CHUNK // 8 + 1, dtype=torch.float64)[:, None]
    torch.save({"long": table, "turned": table.expand(-1, 2).T}, file)
    for info in read_pickled(file):
        pieces = [bytes(piece) for piece in chunks(info)]
        assert max(map(len, pieces)) == CHUNK
        assert all(len(piece) % 8 == 0 for piece in pieces)
        assert b"".join(pieces) == raw(table if info.name == "long" else table.expand(-1, 2).T)


def test_nothing_is_read(file):
    """9 GB of records of which the disk holds none: only a reader of offsets is done at once."""
    sizes = {"a": 1 << 30, "b": 1 << 32, "c": (1 << 32) + 7, "d": 12}
    with torch.serialization.skip_data():
        torch.save({name: torch.empty(size, dtype=torch.uint8) for name, size in sizes.items()}, file)
    if file.stat().st_blocks * 512 > 1 << 20:
        pytest.skip("needs a file system with sparse files")
    tensors = read_pickled(file)
    assert {info.name: info.nbytes for info in tensors} == sizes
    with zipfile.ZipFile(file) as archive, file.open("rb") as stream:
        for info in tensors:
            entry = archive.getinfo(f"pytorch_model/data/{'abcd'.index(info.name)}")
            stream.seek(entry.header_offset + 26)
            lengths = int.from_bytes(stream.read(2), "little") + int.from_bytes(stream.read(2), "little")
            assert (info.begin, info.nbytes) == (entry.header_offset + 30 + lengths, entry.file_size)


class Attack:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.target),)


def test_code_is_never_run(file, tmp_path):
    mark = tmp_path / "was here"
    for content in (Attack(mark), {"a": torch.ones(2), "b": Attack(mark)}):
        torch.save(content, file)
        with pytest.raises(InputError, match=r"refused for safety: .*mkdir"):
            read_pickled(file)
        assert not mark.exists()
    # The attack itself works where it is let.
    torch.load(file, weights_only=False)
    assert mark.exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([torch.ones(2)], "holds a list, where tensors by name"),
        (torch.ones(2), "holds a .*, where tensors by name"),
        ({3: torch.ones(2)}, "has the key 3"),
        ({"model": {"a": torch.ones(2)}, "step": 7}, "a dictionary under 'model'.*training checkpoint"),
        ({"a": torch.ones(2), "step": 7}, "holds a int under 'step'"),
        ({"a": None}, "holds a NoneType under 'a'"),
        ({"_rebuild_qtensor": torch.ones(2), "torch._utils _rebuild_qtensor": None}, "holds a NoneType"),
        ({"a": torch.randn(2, dtype=torch.complex64).conj()}, "a is a tensor of torch.complex64"),
    ],
)
def test_other_content(file, content, message):
    torch.save(content, file)
    with pytest.raises(InputError, match=message) as error:
        read_pickled(file)
    assert str(file) in str(error.value)
    assert "weights_only=False" not in str(error.value)


@pytest.mark.filterwarnings("ignore")  # torch promises nothing of these tensors
@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (lambda: torch.eye(2).to_sparse(), "sparse layout"),
        (lambda: torch.nn.Parameter(torch.eye(2).to_sparse()), "sparse layout"),
        (lambda: torch.eye(2).to_sparse_csr(), "sparse layout"),
        (lambda: torch.eye(4).to_sparse_bsc((2, 2)), "sparse layout"),
        (lambda: torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]), "nested layout"),
        (lambda: torch.nested.nested_tensor([torch.ones(2), torch.ones(3)], layout=torch.jagged), "nested layout"),
        (lambda: torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8), "quantized numbers"),
    ],
)
def test_tensors_of_other_kinds(file, make, kind, caplog, capfd):
    try:
        torch.save({"first": torch.ones(2), "a": make(), "last": torch.ones(2)}, file)
    except ModuleNotFoundError as error:  # pickle asks every module for a name, transformers 5.8 too
        pytest.skip(f"this transformers keeps such a tensor from being saved: {error}")
    capfd.readouterr()
    with pytest.raises(InputError) as error:
        read_pickled(file)
    assert str(error.value) == f"{file}: a is a tensor of {kind}, which is not read"
    # The sentence is all: torch's fake mode logs a traceback where it cannot make a tensor.
    assert (capfd.readouterr().err, caplog.text) == ("", "")


def test_other_formats(file):
    with pytest.raises(InputError, match="does not exist"):
        read_pickled(file)
    torch.save({"a": torch.ones(2)}, file, _use_new_zipfile_serialization=False)
    with pytest.raises(InputError, match=r"torch before 1\.6; to convert it: torch\.save"):
        read_pickled(file)
    file.write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(InputError, match=r"torch before 1\.6"):
        read_pickled(file)
    file.write_bytes(b"version https://git-lfs")
    with pytest.raises(InputError, match=r"is not a file of torch\.save: it begins with b'vers'"):
        read_pickled(file)
    file.write_bytes(b"")
    with pytest.raises(InputError, match=r"is not a file of torch\.save"):
        read_pickled(file)


def repacked(file: Path, *, compression: int = zipfile.ZIP_STORED, **replaced: bytes) -> None:
    with zipfile.ZipFile(file) as archive:
        records = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, content in records.items():
            # Without the format's version, torch looks for offsets instead of computing them.
            if not name.endswith(".format_version"):
                archive.writestr(name, replaced.get(Path(name).name.replace(".", "_"), content))


def test_packed_by_another_tool(file):
    torch.save({"a": torch.arange(3), "b": torch.ones(2)}, file)
    repacked(file)
    assert [read_tensor(info).tolist() for info in read_pickled(file)] == [[0, 1, 2], [1.0, 1.0]]
    repacked(file, byteorder=b"big")
    with pytest.raises(InputError, match="big-endian"):
        read_pickled(file)
    repacked(file, byteorder=b"little", compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(InputError, match="is compressed"):
        read_pickled(file)


def test_a_pickle_that_lies_about_its_records(file):
    torch.save({"a": torch.zeros(200)}, file)
    with zipfile.ZipFile(file) as archive:
        honest = archive.read("pytorch_model/data.pkl")
    # 200 elements are the bytes K\xc8; first the storage's size, then the shape.
    assert honest.count(b"K\xc8") == 2
    storage, shape = b"K\xf8".join(honest.split(b"K\xc8", 1)), b"K\xf8".join(honest.rsplit(b"K\xc8", 1))
    for lie in (storage, shape, honest.replace(b"K\xc8", b"K\x20")):
        repacked(file, data_pkl=lie)
        with pytest.raises(InputError, match="is corrupt"):
            read_pickled(file)


class Rebuilt:
    """A tensor as a pickle may describe it, of any strides."""

    def __init__(self, values: torch.Tensor, shape: tuple[int, ...], stride: tuple[int, ...], offset: int) -> None:
        storage = torch.storage.TypedStorage(wrap_storage=values.untyped_storage(), dtype=values.dtype, _internal=True)
        self.parts = (storage, offset, shape, stride, False, OrderedDict())

    def __reduce__(self) -> tuple[object, ...]:
        return torch._utils._rebuild_tensor_v2, self.parts


@pytest.mark.parametrize(
    ("shape", "stride"), [((5,), (0,)), ((4, 3), (0, 1)), ((2, 3, 2), (0, 2, 1)), ((3, 2), (1, 1))]
)
def test_steps_that_repeat_bytes(file, shape, stride):
    values = torch.arange(6.0)
    torch.save({"a": Rebuilt(values, shape, stride, 6 - len(shape) * 2)}, file)
    (info,) = read_pickled(file)
    expected = torch.load(file, weights_only=True)["a"]
    assert read_tensor(info).tolist() == expected.tolist()
    assert b"".join(chunks(info)) == expected.contiguous().numpy().tobytes()


@pytest.mark.parametrize("shape", [(10**9, 3), (2**40, 3), (2**31, 2**31)])
def test_few_bytes_that_claim_to_be_many(file, shape):
    torch.save({"a": Rebuilt(torch.arange(6.0), shape, (0,) * len(shape), 0)}, file)
    with pytest.raises(InputError, match=r"a of shape .* repeats \d+ bytes of the file|is corrupt"):
        read_pickled(file)


@pytest.mark.parametrize(("stride", "offset"), [((-1,), 4), ((-1,), 0), ((-(2**62),), 4)])
def test_negative_steps(file, stride, offset):
    torch.save({"a": Rebuilt(torch.arange(6.0), (3,), stride, offset)}, file)
    with pytest.raises(InputError, match=r"is corrupt.*stride"):
        read_pickled(file)


def test_truncated_files(file):
    torch.save({"a": torch.randn(40, 5), "b": torch.arange(3)}, file)
    content = file.read_bytes()
    for length in range(4, len(content), 97):
        file.write_bytes(content[:length])
        with pytest.raises(InputError, match="truncated or corrupt"):
            read_pickled(file)


def test_file_that_shrinks(file):
    torch.save({"a": torch.randn(40, 5)}, file)
    (info,) = read_pickled(file)
    file.write_bytes(file.read_bytes()[: info.begin + 5])
    with pytest.raises(InputError, match="it changed since it was opened"):
        read_tensor(info)
    with pytest.raises(InputError, match="it changed since it was opened"):
        list(chunks(info))


def test_a_message_does_not_grow_with_the_file(tmp_path):
    """zipfile quotes both names of a record whose two headers differ, however long they are."""
    file = tmp_path / "pytorch_model.bin"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("x" * 5000 + "/data.pkl", b"")
    data = file.read_bytes()
    file.write_bytes(data.replace(b"xx", b"yx", 1))
    with pytest.raises(InputError, match="truncated or corrupt") as raised:
        read_pickled(file)
    assert len(str(raised.value)) < 500 + len(str(file))
