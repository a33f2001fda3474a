"""Wall time and peak memory of moving a model that is larger than its tables, beside `cp` and transformers.

    python python_tests/benchmarks/memory.py [--gigabytes 12] [--folder DIR]

The source is a made-up Llama in bfloat16, 4,096 dimensions and 32,000 tokens, in 6 shards; only its tables hold
numbers, the rest are holes of sparse files, which every reader sees as zeros and every copy here writes out. The donor
has 1,024 dimensions and other tokens, a seventh of them shared. Every way runs in a process of its own and begins with
the source out of memory, and its time ends when the output is on the disk. Peak memory is VmHWM: unlike ru_maxrss it
leaves out what the parent process had, and like it counts mapped pages of files.

Needs Linux, the disk twice the size, and for transformers memory for the whole model. The bound is meant for models
that are large beside the machine: smaller ones are run once to check the output, which needs memory for the whole
model, as the report says.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import string
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

TOKENS, HIDDEN, DONOR_HIDDEN, SHARDS = 32_000, 4096, 1024, 6
WAYS = ("salt-ext", "salt-ext, linked", "cp", "transformers")
TABLES = ("model.embed_tokens.weight", "lm_head.weight")
GB = 10**9


def tokenizer(letters: str, size: int = TOKENS) -> Any:
    """A byte-level BPE tokenizer of all short words of these letters, as far as `size` goes."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    spaced = "Ġ" + letters
    words = ["".join(word) for length in (1, 2) for word in product(spaced, *[letters] * length)]
    vocabulary = ["<s>", "</s>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    words = words[: size - len(vocabulary)]
    vocabulary += words
    merges = [(word[:-1], word[-1]) for word in words]
    inner = Tokenizer(models.BPE({token: number for number, token in enumerate(vocabulary)}, merges))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=inner, bos_token="<s>", eos_token="</s>")


def make_source(folder: Path, gigabytes: float) -> None:
    import torch
    from transformers import AutoModelForCausalLM, LlamaConfig

    body = gigabytes * GB - 2 * 2 * TOKENS * HIDDEN
    layers = max(1, round(body / 400e6))
    config = LlamaConfig(
        vocab_size=TOKENS,
        hidden_size=HIDDEN,
        intermediate_size=16 * round((body / layers / 2 - 4 * HIDDEN**2) / (3 * HIDDEN) / 16),
        num_hidden_layers=layers,
        num_attention_heads=32,
        dtype=torch.bfloat16,
        bos_token_id=0,
        eos_token_id=1,
        architectures=["LlamaForCausalLM"],
    )
    with torch.device("meta"):
        shapes = {name: list(t.shape) for name, t in AutoModelForCausalLM.from_config(config).state_dict().items()}
    config.save_pretrained(folder)
    tokenizer(string.ascii_lowercase + string.ascii_uppercase[:6]).save_pretrained(folder)
    total = sum(2 * math.prod(shape) for shape in shapes.values())
    shards: list[dict[str, list[int]]] = [{} for _ in range(SHARDS)]
    done = 0
    for name, shape in shapes.items():
        shards[min(done * SHARDS // total, SHARDS - 1)][name] = shape
        done += 2 * math.prod(shape)
    weight_map = {}
    for number, shard in enumerate(shards, 1):
        file = f"model-{number:05}-of-{SHARDS:05}.safetensors"
        write_sparse(folder / file, shard)
        weight_map |= dict.fromkeys(shard, file)
    index = {"metadata": {"total_size": total}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def write_sparse(file: Path, shapes: dict[str, list[int]]) -> None:
    """A bfloat16 safetensors file whose tables are normal numbers and whose other tensors are holes."""
    import torch

    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, shape in shapes.items():
        begin, end = end, end + 2 * math.prod(shape)
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [begin, end]}
    raw = json.dumps(header).encode()
    raw += b" " * (-len(raw) % 8)
    generator = torch.Generator().manual_seed(len(raw))
    with file.open("wb") as stream:
        stream.write(struct.pack("<Q", len(raw)) + raw)
        start = stream.tell()
        stream.truncate(start + end)
        for name in TABLES:
            if name in shapes:
                stream.seek(start + header[name]["data_offsets"][0])
                for rows in (1000,) * (TOKENS // 1000):
                    block = torch.randn(rows, HIDDEN, generator=generator).mul_(0.02).bfloat16()
                    stream.write(block.view(torch.uint8).numpy().data)


def make_donor(folder: Path) -> None:
    import torch
    from transformers import LlamaConfig, LlamaModel

    words = tokenizer(string.ascii_lowercase[:16] + string.ascii_uppercase[-16:])
    config = LlamaConfig(
        vocab_size=len(words),
        hidden_size=DONOR_HIDDEN,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=4,
        bos_token_id=0,
        eos_token_id=1,
    )
    torch.manual_seed(0)
    LlamaModel(config).bfloat16().save_pretrained(folder)
    words.save_pretrained(folder)


def run(way: str, source: Path, donor: Path, output: Path) -> None:
    if way == "cp":
        subprocess.run(["cp", "-r", "--sparse=never", source, output], check=True)
    elif way == "transformers":
        from transformers import AutoModelForCausalLM, AutoTokenizer

        words = AutoTokenizer.from_pretrained(donor)
        model = AutoModelForCausalLM.from_pretrained(source, dtype="bfloat16")
        model.resize_token_embeddings(len(words), mean_resizing=False)
        model.save_pretrained(output, max_shard_size="2GB")
        words.save_pretrained(output)
    else:
        import salt_ext

        result = salt_ext.transfer(source, donor, output, link=way == "salt-ext, linked")
        print("seconds:", json.dumps(result.report["seconds"]), file=sys.stderr)


def peak() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("VmHWM")).split()[1])


def measured(way: str, source: Path, donor: Path, output: Path) -> dict[str, float]:
    command = [sys.executable, __file__, "--child", way, str(source), str(donor), str(output)]
    os.sync()
    # What the run before left of the source in memory must not help the next one.
    for file in source.iterdir():
        with file.open("rb") as stream:
            os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def child(way: str, source: Path, donor: Path, output: Path) -> None:
    begin = time.perf_counter()
    run(way, source, donor, output)
    os.sync()
    print(json.dumps({"seconds": time.perf_counter() - begin, "peak": peak()}))


def ranges(folder: Path) -> dict[str, tuple[Path, int, int]]:
    """File, begin and end of every tensor of a sharded folder, read without any of the code under test."""
    found = {}
    for file in sorted(folder.glob("model-*.safetensors")):
        with file.open("rb") as stream:
            (length,) = struct.unpack("<Q", stream.read(8))
            header = json.loads(stream.read(length))
        header.pop("__metadata__", None)
        for name, entry in header.items():
            begin, end = entry["data_offsets"]
            found[name] = (file, 8 + length + begin, 8 + length + end)
    return found


def pieces(file: Path, begin: int, end: int) -> Iterator[bytes]:
    with file.open("rb") as stream:
        stream.seek(begin)
        for position in range(begin, end, 1 << 24):
            yield stream.read(min(1 << 24, end - position))


def check(source: Path, output: Path) -> int:
    """The number of tensors whose bytes must be, and are, the source's; the model's shapes must be the configured."""
    import torch
    from safetensors import safe_open
    from transformers import AutoConfig, AutoModelForCausalLM

    before, after = ranges(source), ranges(output)
    assert before.keys() == after.keys()
    for name in before.keys() - set(TABLES):
        assert all(one == two for one, two in zip(pieces(*before[name]), pieces(*after[name]), strict=True)), name
    with torch.device("meta"):
        expected = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(output)).state_dict()
    index = json.loads((output / "model.safetensors.index.json").read_text())
    assert expected.keys() == index["weight_map"].keys()
    for name, file in index["weight_map"].items():
        with safe_open(output / file, "pt") as opened:
            assert opened.get_slice(name).get_shape() == list(expected[name].shape), name
    return len(before) - len(TABLES)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=12)
    parser.add_argument("--folder", type=Path, help="where to work; needs twice the size (default: the system's)")
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.child[0], *map(Path, options.child[1:]))
        return
    with tempfile.TemporaryDirectory(dir=options.folder) as scratch:
        source, donor, output = (Path(scratch, name) for name in ("source", "donor", "output"))
        for folder in (source, donor):
            folder.mkdir()
        make_source(source, options.gigabytes)
        make_donor(donor)
        size = sum(file.stat().st_size for file in source.glob("*.safetensors"))
        rows = json.loads((donor / "config.json").read_text())["vocab_size"]
        tables = 2 * 2 * TOKENS * HIDDEN + 2 * rows * DONOR_HIDDEN + 2 * 2 * rows * HIDDEN
        bound = 1.25 * tables + 400e6
        print(f"source of {size / GB:.2f} GB in {SHARDS} shards, tables of {tables / GB:.2f} GB in all\n")
        print(f"{'':<20}{'seconds':>9}{'peak GB':>9}")
        # Virtual disks allocate a block when it is first written, so one copy goes before all that are timed.
        measured("cp", source, donor, output)
        shutil.rmtree(output)
        peaks = {}
        for way in WAYS:
            result = measured(way, source, donor, output)
            peaks[way] = result["peak"]
            print(f"{way:<20}{result['seconds']:>9.1f}{result['peak'] / GB:>9.2f}", flush=True)
            if way.startswith("salt-ext"):
                same = check(source, output)
            shutil.rmtree(output)
        print(f"\nbound for salt-ext: 1.25 x tables + 400 MB = {bound / GB:.2f} GB; {same} other tensors bit-equal")
        if max(peaks["salt-ext"], peaks["salt-ext, linked"]) > bound:
            raise SystemExit("the bound does not hold")


if __name__ == "__main__":
    main()
