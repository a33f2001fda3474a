"""How commands end: what is finished is no failure, what fails is one sentence, and an interruption says nothing."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import salt_ext
from salt_ext import cli
from salt_ext.errors import OutputError

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="/dev/full, signals")
COMMAND = [sys.executable, "-m", "salt_ext"]


@pytest.fixture(scope="module")
def moved(tmp_path_factory, source, donor) -> salt_ext.TransferResult:
    return salt_ext.transfer(source, donor, tmp_path_factory.mktemp("endings") / "out")


def test_a_full_stdout_does_not_undo_a_transfer(source, donor, tmp_path):
    with Path("/dev/full").open("w") as full:
        command = [*COMMAND, "transfer", source, donor, "-o", tmp_path / "out"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 0
    assert done.stderr == (
        f"salt-ext: the new model is complete in {tmp_path / 'out'}, but the summary cannot be printed: "
        "No space left on device\n"
    )
    assert (tmp_path / "out" / "model.safetensors").is_file()


def test_a_reader_that_goes_away(source, donor):
    """As `salt-ext inspect ... | head -1`; and with all streams closed."""
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([*COMMAND, "inspect", source, donor], stdout=writer, stderr=subprocess.PIPE, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, b"")
    shell = '"$@" <&- >&- 2>&-'
    assert subprocess.run(["bash", "-c", shell, "bash", *COMMAND, "methods"], check=False).returncode == 0


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["methods"]])
def test_printing_that_is_all_there_is_to_do_fails(arguments):
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([*COMMAND, *arguments], stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("salt-ext: ")
    assert done.stderr.endswith("No space left on device\n")
    assert done.stderr.count("\n") == 1


@pytest.fixture(autouse=True)
def interruptible():
    """A shell starts what runs in its background with interruptions ignored, and every child inherits that."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


INTERRUPTED = """
import os, signal, sys

class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupting())
sys.argv = ["/somewhere/salt-ext", *{arguments!r}]
from salt_ext.cli import main
main()
"""


@pytest.mark.parametrize(
    ("module", "arguments"), [("torch", ["--help"]), ("typer", ["--help"]), ("transformers", ["inspect", "a", "b"])]
)
def test_an_interruption_during_imports(module, arguments):
    code = INTERRUPTED.format(module=module, arguments=arguments)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, b"", b"")


def test_an_interruption_of_a_program_that_imports_us():
    """It keeps Python's own handler: the exception is the program's."""
    code = INTERRUPTED.format(module="torch", arguments=[]).replace("/somewhere/salt-ext", "theirs.py")
    theirs = "try: import salt_ext\nexcept KeyboardInterrupt: print(7)"
    code = code.replace("from salt_ext.cli import main\nmain()", theirs)
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).stdout == b"7\n"


def test_an_interruption_of_the_work(monkeypatch, capsys, source, donor, tmp_path):
    def interrupted(*_: object, **__: object) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr("salt_ext.pipeline.run.verify_output", interrupted)
    assert cli.run(["transfer", str(source), str(donor), "-o", str(tmp_path / "out")]) in (1, 130)
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "Traceback" not in printed.err
    assert list(tmp_path.iterdir()) == []


def test_a_fault_of_our_own(monkeypatch, capsys):
    def faulty(console: object) -> None:
        raise ZeroDivisionError("a\x1b[31m\nb")

    monkeypatch.setattr("salt_ext.cli.methods.print_methods", faulty)
    assert cli.run(["methods"]) == 3
    printed = capsys.readouterr().err
    assert printed.startswith("salt-ext: a fault that nobody foresaw, ZeroDivisionError: a\\x1b[31m b; ")
    assert printed.count("\n") == 1
    monkeypatch.setenv("SALT_TRACEBACK", "1")
    assert cli.run(["methods"]) == 3
    printed = capsys.readouterr().err
    assert "in faulty" in printed
    assert "\x1b" not in printed


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (MemoryError(), 2, "the memory of this machine does not suffice"),
        (PermissionError(13, "Permission denied"), 2, "Permission denied"),
        (type("PanicException", (BaseException,), {})("so it is"), 2, "a library below gave up"),
        (RecursionError("deep"), 3, "RecursionError: deep"),
        (SystemExit(7), 7, ""),
    ],
)
def test_whatever_is_raised(error, code, says, monkeypatch, capsys):
    def failing(console: object) -> None:
        raise error

    monkeypatch.setattr("salt_ext.cli.methods.print_methods", failing)
    assert cli.run(["methods"]) == code
    assert says in capsys.readouterr().err


def edited(folder: Path, name: str, change: Callable[[dict], object]) -> None:
    value = json.loads((folder / name).read_text())
    change(value)
    (folder / name).write_text(json.dumps(value))


def test_half_a_surrogate_pair_in_configurations(copy_of, untied_source, donor, tmp_path):
    """JSON can spell it, UTF-8 cannot: it comes back as it was."""
    folder = copy_of(untied_source)
    broken = "x\ud800\x1b[31m"
    (folder / "generation_config.json").write_text("{}")
    edited(folder, "config.json", lambda config: config.update({"architectures": None, "note": broken}))
    edited(folder, "generation_config.json", lambda config: config.update(note=broken))
    edited(folder, "model.safetensors.index.json", lambda index: index["metadata"].update(note=broken))
    assert cli.run(["transfer", str(folder), str(donor), "-o", str(tmp_path / "out"), "--quiet"]) == 0
    for name in ("config.json", "generation_config.json"):
        assert json.loads((tmp_path / "out" / name).read_text())["note"] == broken
    index = json.loads((tmp_path / "out" / "model.safetensors.index.json").read_text())
    assert index["metadata"]["note"] == broken


def test_a_folder_whose_name_is_no_text(source, donor, tmp_path, capsys):
    """The tokenizers library opens none, and would fail to write one when all else is done."""
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    with pytest.raises(OutputError, match="its name is not UTF-8"):
        salt_ext.transfer(source, donor, folder)
    shutil.copytree(source, folder)
    assert cli.run(["transfer", str(folder), str(donor), "-o", str(tmp_path / "out")]) == 2
    printed = capsys.readouterr().err
    assert "caf\\udce9: cannot be read" in printed
    assert printed[:-1].isprintable()


def nest(depth: int) -> dict:
    value: dict = {}
    for _ in range(depth):
        value = {"a": value}
    return value


@pytest.mark.parametrize("name", ["config.json", "generation_config.json"])
@pytest.mark.parametrize(
    ("extra", "says"),
    [
        (json.dumps(nest(300)), "nested more than 64 levels"),
        ("[" * 90_000 + "]" * 90_000, "nested more than 64 levels"),
        ("1" + "0" * 5000, "a number of thousands of digits"),
    ],
)
def test_absurd_json_is_refused(name, extra, says, copy_of, source, donor, tmp_path, capsys):
    folder = copy_of(source)
    known = json.loads((folder / name).read_text()) if (folder / name).exists() else {}
    (folder / name).write_text(json.dumps(known)[:-1] + (", " if known else "") + f'"extra": {extra}}}')
    assert cli.run(["transfer", str(folder), str(donor), "-o", str(tmp_path / "out")]) == 2
    printed = capsys.readouterr().err
    assert name in printed
    assert says in printed
    assert printed.count("\n") == 1


def test_architectures_that_are_no_names(copy_of, source, donor, capsys):
    folder = copy_of(source)
    edited(folder, "config.json", lambda config: config.update(architectures=[1]))
    assert cli.run(["inspect", str(folder), str(donor)]) in (0, 2)
    assert "Traceback" not in capsys.readouterr().err


def test_ids_of_thousands_of_digits(moved, source, donor, tmp_path, capsys):
    number = "#" + "9" * 5000
    assert cli.run(["explain", str(moved.output), number]) == 2
    assert "there is no such id" in capsys.readouterr().err
    (tmp_path / "map.json").write_text(json.dumps({number: None}))
    assert cli.run(["inspect", str(source), str(donor), "--token-map", str(tmp_path / "map.json")]) == 2
    printed = capsys.readouterr().err
    assert "has no such id" in printed
    assert len(printed) < 1000


@pytest.mark.parametrize("names", ["[" * 90_000 + "]" * 90_000, "numbers", '{"a": 1}', "null", "9" * 5000])
def test_a_plan_whose_names_are_none(names, moved, tmp_path, capsys):
    folder = tmp_path / "out"
    folder.mkdir()
    for file in moved.output.iterdir():
        (folder / file.name).symlink_to(file)
    (folder / "salt_plan.safetensors").unlink()
    plan = moved.plan
    names = json.dumps([1] * plan.source_rows) if names == "numbers" else names
    plan.metadata["source_tokens"], kept = names, plan.metadata["source_tokens"]
    try:
        plan.save(folder / "salt_plan.safetensors")
    finally:
        plan.metadata["source_tokens"] = kept
    assert cli.run(["explain", str(folder), "#5"]) == 2
    assert "does not name the" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--token-map", "--tokenizer", "--aux", "--embedding"])
def test_paths_of_nobody(option, source, donor, tmp_path, capsys):
    value = {"--aux": "vectors:~nobody-of-this-name/v.vec"}.get(option, "~nobody-of-this-name/x")
    assert cli.run(["transfer", str(source), str(donor), "-o", str(tmp_path / "out"), option, value]) == 2
    printed = capsys.readouterr().err
    assert "~nobody-of-this-name" in printed
    assert printed.count("\n") == 1


def test_a_path_can_be_copied(moved, monkeypatch, capsys, source, donor, tmp_path):
    """However narrow the terminal."""
    monkeypatch.setenv("COLUMNS", "40")
    output = tmp_path / ("a-long-name-" * 8)
    assert cli.run(["transfer", str(source), str(donor), "-o", str(output)]) == 0
    assert capsys.readouterr().out.startswith(f"{output}\n")


def test_the_peak_includes_the_check(monkeypatch, source, donor, tmp_path):
    held: list[torch.Tensor] = []
    verify = salt_ext.pipeline.run.verify_output

    def heavy(*arguments: object, **options: object) -> object:
        held.append(torch.ones(salt_ext.pipeline.run.peak_memory() // 4 + (300 << 20 >> 2)))
        held.clear()
        return verify(*arguments, **options)

    monkeypatch.setattr("salt_ext.pipeline.run.verify_output", heavy)
    report = salt_ext.transfer(source, donor, tmp_path / "out").report
    assert report["peak_memory_bytes"] >= report["peak_memory_before_check_bytes"] + (250 << 20)


def test_results_are_short(moved):
    text = repr(moved)
    assert len(text) < 500
    assert str(moved.output) in text
    assert f"{moved.report['rows']['copied']:,} copied" in text
    assert repr(moved.plan) in text
    for shown in (moved._repr_html_(), moved.plan._repr_html_()):
        assert f"{moved.report['rows']['regressed']:,}" in shown
        assert len(shown) < 5000
    assert str(moved.output) in moved._repr_html_()
