"""Mutated files, children that read them under limits, and a process that runs transfers in children."""

from __future__ import annotations

import copy
import json
import os
import random
import resource
import signal
import struct
import subprocess
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from factories import small_llama
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

_NUMBERS = [-1, 0, 1, 2**31 - 1, -(2**31), 2**63 - 1, 2**64, 10**30, -(10**4), 0.5, 1e308]
_VALUES = [None, True, "", "x" * 70_000, "\x00", "\u200b", "../x", [], {}, [[]], {"a": {"a": {}}}, *_NUMBERS]
_PACKED = [struct.pack("<q", number) for number in (-1, 0, 2**62, 2**31 - 1, -(2**31), 2**63 - 1)]
_PACKED += [b"\xff", b"\x7f" * 4, b"\xff\xff\xff\x7f", b"999999999999", b"-1", b"1e999", b"\n", b" ", b"{", b'"', b"\0"]
# Above what the process has mapped already: far more than a file of some kilobytes can claim.
_ROOM = 64 << 20
_SECONDS = 10
_BATCH = 100


def mutated_bytes(content: bytes, generator: random.Random) -> bytes:
    """Flips, cuts, copies, insertions, extreme numbers; half of them near the start, where headers are."""
    data = bytearray(content)
    for _ in range(generator.choice((1, 1, 1, 2, 4))):
        at = generator.randrange(max(1, len(data) if generator.random() < 0.5 else min(len(data), 256)))
        length = int(2 ** generator.uniform(0, 8))
        match generator.randrange(8):
            case 0 if data:
                data[at] ^= 1 << generator.randrange(8)
            case 1 if data:
                data[at] = generator.randrange(256)
            case 2:
                del data[at : at + length]
            case 3:
                data[at:at] = data[at : at + length]
            case 4:
                other = generator.randrange(max(1, len(data)))
                data[at : at + length] = data[other : other + length]
            case 5:
                extreme = generator.choice(_PACKED)
                data[at : at + len(extreme)] = extreme
            case 6:
                data[at:at] = generator.choice(_PACKED)
            case _:
                del data[generator.randrange(max(1, len(data))) :]
    return bytes(data)


def mutated_json(content: bytes, generator: random.Random) -> bytes:
    """The same value with other types, numbers and keys in some places; duplicate keys, deep nesting, broken UTF-8."""
    value = json.loads(content)
    for _ in range(generator.choice((1, 1, 1, 2, 4))):
        places = _places(value)
        if not places:
            break
        holder, key = generator.choice(places)
        match generator.randrange(8):
            case 0 | 1:
                holder[key] = copy.deepcopy(generator.choice(_VALUES))
            case 2:
                if isinstance(holder[key], int):
                    holder[key] += generator.choice((-1, 1, 2**20, -(2**20)))
                else:
                    holder[key] = generator.choice(_NUMBERS)
            case 3:
                del holder[key]
            case 4:
                other, there = generator.choice(places)
                holder[key] = copy.deepcopy(other[there])
            case 5 if isinstance(holder, dict):
                holder[generator.choice(("", "x", "__metadata__", "type", str(key) + "x"))] = holder.pop(key)
            case 5:
                holder.append(copy.deepcopy(holder[key]))
            case 6:
                holder[key] = [holder[key]]
            case _:
                holder[key] = str(holder[key])
    text = json.dumps(value)
    match generator.randrange(12):
        case 0:
            depth = generator.choice((200, 5_000))
            text = text.replace("1", "[" * depth + "]" * depth, 1)
        case 1:
            at = text.find('"', generator.randrange(max(1, len(text)))) + 1
            text = text[:at] + generator.choice(("\\ud800", "\\u0000", "\\x")) + text[at:]
        case 2:
            text = text.replace(": 1", generator.choice((": NaN", ": -Infinity", ": 1e999", ": " + "9" * 5_000)), 1)
        case 3 if isinstance(value, dict) and value:
            twice = json.dumps(generator.choice(list(value)))
            text = "{" + twice + ": " + json.dumps(generator.choice(_VALUES)) + ", " + text[1:]
    raw = text.encode()
    if generator.randrange(12) == 0:
        at = generator.randrange(len(raw))
        raw = raw[:at] + generator.choice((b"\xff", b"\xed\xa0\x80", b"\xc3")) + raw[at:]
    return raw


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Every container with every key or index of it; of long ones a few."""
    found: list[tuple[Any, Any]] = []
    pending = [value]
    while pending:
        holder = pending.pop()
        if isinstance(holder, (dict, list)):
            keys: list[Any] = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
            if len(keys) > 24:
                keys = keys[:8] + keys[-8:]
            found += [(holder, key) for key in keys]
            pending += [holder[key] for key in keys]
    return found


def run_forked(count: int, work: Callable[[int], bool], *, seconds: float = _SECONDS) -> tuple[int, list[str]]:
    """Calls work(0), work(1), ... in children, each call under a time limit and all under a limit of address space.

    Returns:
        How often `work` returned True, and what went wrong: one text for every exception and every child that died,
        with the number of the call.
    """
    accepted, failures, begin = 0, [], 0
    while begin < count:
        reader, writer = os.pipe()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # threads: the child starts none and waits for none
            child = os.fork()
        if child == 0:
            os.close(reader)
            _work(range(begin, min(begin + _BATCH, count)), work, writer, seconds)
        os.close(writer)
        with open(reader, encoding="utf-8") as stream:
            messages = [json.loads(line) for line in stream]
        _, status = os.waitpid(child, 0)
        last = messages[-1]["number"] if messages else begin
        accepted += sum(message.get("accepted", False) for message in messages)
        failures += [f"number {message['number']}: {message['error']}" for message in messages if "error" in message]
        if status:
            died = signal.Signals(status & 127).name if status & 127 else f"exit status {status >> 8}"
            failures.append(f"number {last}: the process died: {died}")
        begin = last + 1
    return accepted, failures


def _work(numbers: range, work: Callable[[int], bool], writer: int, seconds: float) -> None:
    def say(**message: Any) -> None:
        os.write(writer, json.dumps(message).encode() + b"\n")

    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    torch.set_num_threads(1)
    mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (mapped + _ROOM,) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    for number in numbers:
        say(number=number)
        signal.setitimer(signal.ITIMER_REAL, seconds)
        try:
            say(number=number, accepted=work(number))
        except BaseException:
            say(number=number, error=traceback.format_exc(limit=-4)[-1500:])
    os._exit(0)


@pytest.fixture(scope="session")
def mutate() -> tuple[Callable[[bytes, random.Random], bytes], Callable[[bytes, random.Random], bytes]]:
    """Mutations of any bytes, and of JSON."""
    return mutated_bytes, mutated_json


@pytest.fixture(scope="session")
def forked() -> Callable[..., tuple[int, list[str]]]:
    return run_forked


def make_model(folder: Path, words: list[str], *, hidden: int) -> Path:
    """A random model of several files, with a tokenizer that is trained on the words."""
    inner = Tokenizer(models.BPE())
    inner.pre_tokenizer, inner.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=330, special_tokens=["<s>", "</s>"], initial_alphabet=alphabet, show_progress=False
    )
    inner.train_from_iterator([" ".join(words)] * 20, trainer)
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=inner, bos_token="<s>", eos_token="</s>")
    size = {"hidden_size": hidden, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = small_llama(len(tokenizer), **size)
    torch.manual_seed(hidden)
    transformers.LlamaForCausalLM(config).save_pretrained(folder, max_shard_size="50KB")
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def world() -> Iterator[Path]:
    """A folder that every user may read, with a source and a donor; what a test adds is the test's to check."""
    shared = ["Katze", "Wasser", "international", "Haus", "Modell", "blau"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_model(folder / "source", [*shared, "through", "which", "would", "people"], hidden=32)
        make_model(folder / "donor", [*shared, "zwischen", "schön", "können", "Straße"], hidden=16)
        for path in [folder, *folder.rglob("*")]:
            path.chmod(0o755)
        yield folder


@pytest.fixture(scope="module")
def runner(world: Path) -> Iterator[Callable[..., Any]]:
    """Asks a process of its own to run transfers in children: see runner.py."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    command = [sys.executable, str(Path(__file__).with_name("runner.py"))]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, **pipes, text=True, env=environment) as process:

        def ask(output: Path, **request: Any) -> Any:
            models = {"source": str(world / "source"), "donor": str(world / "donor"), "output": str(output)}
            process.stdin.write(json.dumps(models | request) + "\n")
            process.stdin.flush()
            return json.loads(process.stdout.readline())

        yield ask
        process.stdin.close()
