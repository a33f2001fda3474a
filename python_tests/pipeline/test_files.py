"""Whole transfers beside files of the user's: inputs that force would delete, leftovers, pipes, hidden names."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file

import salt_ext
from salt_ext import cli
from salt_ext.errors import OutputError
from salt_ext.pipeline import inspection
from salt_ext.plan import TransferPlan

from .conftest import ONLY_TARGET, SHARED, text_of

pytestmark = pytest.mark.skipif(os.name != "posix", reason="pipes and links of a POSIX system")


@pytest.fixture(autouse=True)
def never_waits() -> Iterator[None]:
    """A transfer that waits for somebody to write into a pipe fails, instead of hanging."""

    def late(*_: object) -> None:
        raise AssertionError("it waits")

    previous = signal.signal(signal.SIGALRM, late)
    signal.alarm(120)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, previous)


@pytest.fixture
def model(source: Path, tmp_path: Path) -> Path:
    """A model that stands where the output shall be."""
    return Path(shutil.copytree(source, tmp_path / "out"))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def refused(source: Path, donor: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs a transfer with --force that must fail before any work, and returns its sentence."""

    def run(output: Path, *options: str) -> str:
        before = contents(output)
        code = cli.run(["transfer", str(source), str(donor), "-o", str(output), "--force", "--quiet", *options])
        printed = capsys.readouterr().err
        assert code == 2, printed
        assert printed.count("\n") == 1
        assert contents(output) == before
        return printed

    return run


def test_no_input_of_any_option_is_deleted(refused, model, word_vectors, donor):
    """All of them have names that a model's files may have, so that nothing else is a reason to refuse."""
    (model / "merges.txt").write_text("an alignment")
    (model / "added_tokens.json").write_text("{}")
    shutil.copy(word_vectors[0], model / "vocab.txt")
    given = {
        ("--aux", f"vectors:{model / 'vocab.txt'}"): "/vocab.txt",
        ("--tokenizer", str(model)): "/out",
        ("--token-map", str(model / "added_tokens.json")): "/added_tokens.json",
        ("--method", "trans-tokenization", "--alignment", str(model / "merges.txt")): "/merges.txt",
        ("--method", "tokalign", "--set", f"text={model / 'merges.txt'}"): "/merges.txt",
        ("--method", "ofa", "--set", f"vectors=vectors:{model / 'vocab.txt'}"): "/vocab.txt",
    }
    for options, name in given.items():
        assert re.search(f"must lie apart from [^,]*{name} that it is made from", refused(model, *options)), options


def test_weights_that_are_links_into_the_output_are_not_deleted(model, source, donor, tmp_path, capsys):
    linked = Path(shutil.copytree(source, tmp_path / "linked"))
    (linked / "model.safetensors").unlink()
    (linked / "model.safetensors").symlink_to(model / "model.safetensors")
    before = contents(model)
    assert cli.run(["transfer", str(linked), str(donor), "-o", str(model), "--force"]) == 2
    assert "must lie apart from" in capsys.readouterr().err
    assert contents(model) == before


def test_what_is_no_model_is_named(refused, model):
    (model / "letters").mkdir()
    (model / "letters" / "to-mother.txt").write_text("precious")
    assert "holds more than a model (letters), so even force does not replace it" in refused(model)


def test_a_former_output_is_replaced_and_made_from_again(source, donor, tmp_path, copy_of):
    """What a transfer writes is a model folder by every rule: it may be replaced, and moved itself."""
    mine = copy_of(source)
    (mine / "LICENSE").write_text("free")
    (mine / "params.json").write_text("{}")
    for number in range(2):
        made = salt_ext.transfer(mine, donor, tmp_path / "out", force=bool(number), link=True)
    assert made.report["files"] == {"copied": ["LICENSE"], "left_out": ["params.json"]}
    assert (tmp_path / "out" / "LICENSE").samefile(mine / "LICENSE")
    plan = (tmp_path / "out" / "salt_plan.safetensors").read_bytes()
    salt_ext.transfer(tmp_path / "out", source, tmp_path / "back", link=True)
    assert (tmp_path / "out" / "salt_plan.safetensors").read_bytes() == plan
    assert (tmp_path / "back" / "salt_plan.safetensors").read_bytes() != plan


def test_left_out_files_are_printed(source, donor, tmp_path, copy_of, capsys):
    mine = copy_of(source)
    names = ["spm.model", "params.json", "[bold].txt"]
    for name in names:
        (mine / name).write_text("x")
    (tmp_path / "secret").write_text("secret")
    (mine / "notes.txt").symlink_to(tmp_path / "secret")
    assert cli.run(["transfer", str(mine), str(donor), "-o", str(tmp_path / "out")]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "not taken over from the source's folder: [bold].txt, notes.txt, params.json, spm.model" in printed
    report = json.loads((tmp_path / "out" / "salt_report.json").read_text())
    assert report["files"]["left_out"] == ["[bold].txt", "notes.txt", "params.json", "spm.model"]
    assert [warning for warning in report["warnings"] if "links to files outside" in warning and "notes.txt" in warning]
    assert not any(b"secret" in content for content in contents(tmp_path / "out").values())


@pytest.fixture
def adapted(source: Path, copy_of: Callable[[Path], Path]) -> Path:
    """Merged weights beside the adapter, which changes what the model computes, and names a base that is gone."""
    peft = pytest.importorskip("peft", reason="adapters need peft")
    folder = copy_of(source)
    base = transformers.AutoModelForCausalLM.from_pretrained(folder)
    torch.manual_seed(1)
    config = peft.LoraConfig(task_type="CAUSAL_LM", r=2, target_modules=["q_proj"], init_lora_weights=False)
    peft.get_peft_model(base, config).save_pretrained(folder.parent / "adapter")
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        shutil.move(folder.parent / "adapter" / name, folder / name)
    settings = json.loads((folder / "adapter_config.json").read_text())
    settings["base_model_name_or_path"] = str(folder.parent / "gone")
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    return folder


@pytest.mark.slow
def test_a_leftover_adapter_is_neither_applied_nor_copied(adapted, source, donor, tmp_path):
    made = salt_ext.transfer(adapted, donor, tmp_path / "out")
    plain = salt_ext.transfer(source, donor, tmp_path / "plain")
    assert [warning for warning in made.report["warnings"] if "holds an adapter" in warning]
    assert made.report["checks"] == plain.report["checks"]
    assert "last hidden states bit-equal" in made.report["checks"][-1]
    assert not list((tmp_path / "out").glob("adapter_*"))
    model, loading = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out", output_loading_info=True)
    assert not any("lora" in name for name, _ in model.named_parameters())
    assert not loading["unexpected_keys"]
    expected = load_file(tmp_path / "plain" / "model.safetensors")["model.embed_tokens.weight"]
    assert torch.equal(model.get_input_embeddings().weight, expected)
    assert "holds an adapter" in " ".join(inspection.inspect(adapted, donor).warnings)


@pytest.mark.slow
def test_compare_measures_the_weights_and_not_an_adapter(adapted, source, donor, tmp_path):
    text = tmp_path / "text"
    text.write_text("\n".join(text_of(SHARED + ONLY_TARGET, 5, 300)))
    measured = [
        salt_ext.compare(folder, donor, "mean", text=[text], device="cpu").source_bits_per_byte
        for folder in (adapted, source)
    ]
    assert measured[0] == measured[1]


@pytest.mark.slow
def test_an_adapter_alone_and_gguf_are_told_what_to_do(adapted, source, donor, tmp_path, capsys):
    only = tmp_path / "only"
    only.mkdir()
    for path in (*adapted.glob("adapter_*"), *adapted.glob("tokenizer*")):
        shutil.copy(path, only)
    (tmp_path / "gguf").mkdir()
    (tmp_path / "gguf" / "model-q4.gguf").write_bytes(b"GGUF")
    advice = {only: "merge the adapter first", tmp_path / "gguf": "convert with transformers"}
    advice[tmp_path / "gguf" / "model-q4.gguf"] = "give its folder"
    for folder, expected in advice.items():
        for what, pair in (("source", (folder, donor)), ("donor", (source, folder))):
            assert cli.run(["transfer", *map(str, pair), "-o", str(tmp_path / "out")]) == 2
            message = capsys.readouterr().err
            assert message.startswith(f"salt-ext: {what}: ")
            assert expected in message
            assert "Traceback" not in message


PIPES = ["config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]


@pytest.mark.parametrize("name", [*PIPES, "tokenizer.model", "chat_template.jinja"])
def test_pipes_in_a_model_folder(source, donor, tmp_path, copy_of, capsys, name):
    for what, folder in (("source", source), ("donor", donor)):
        mine = copy_of(folder)
        (mine / name).unlink(missing_ok=True)
        os.mkfifo(mine / name)
        pair = {"source": source, "donor": donor} | {what: mine}
        assert cli.run(["transfer", str(pair["source"]), str(pair["donor"]), "-o", str(tmp_path / "out")]) == 2
        assert f"{what}: {mine / name} is a named pipe, where a file was expected" in capsys.readouterr().err
    assert cli.run(["transfer", *map(str, (source, donor)), "-o", str(tmp_path / "o"), "--tokenizer", str(mine)]) == 2
    assert "tokenizer" in capsys.readouterr().err


@pytest.mark.parametrize("name", PIPES)
def test_folders_where_files_are_expected(source, donor, tmp_path, copy_of, capsys, name):
    mine = copy_of(source)
    (mine / name).unlink()
    (mine / name).mkdir()
    assert cli.run(["transfer", str(mine), str(donor), "-o", str(tmp_path / "out")]) == 2
    message = capsys.readouterr().err
    assert message.startswith("salt-ext: source: ")
    assert message.count("\n") == 1
    assert name in message


def test_options_that_name_pipes_and_devices(source, donor, tmp_path, capsys):
    os.mkfifo(tmp_path / "pipe.vec")
    for options in (
        ("--token-map", str(tmp_path / "pipe.vec")),
        ("--aux", f"vectors:{tmp_path / 'pipe.vec'}"),
        ("--method", "trans-tokenization", "--alignment", str(tmp_path / "pipe.vec")),
        ("--token-map", "/dev/zero"),
        ("--tokenizer", "/dev/zero"),
    ):
        assert cli.run(["transfer", str(source), str(donor), "-o", str(tmp_path / "out"), *options]) == 2, options
        message = capsys.readouterr().err
        assert "Traceback" not in message
        assert "pipe.vec" in message or "/dev/zero" in message
    assert cli.run(["inspect", str(source), str(donor), "--text", str(tmp_path / "pipe.vec")]) == 2
    assert "is a named pipe, where a file was expected" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["~no-such-user-here/model", "./" + "x" * 300, "./loop", "./loop/model"])
def test_models_that_lead_nowhere(source, donor, tmp_path, monkeypatch, capsys, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "loop").symlink_to("loop")
    for what, pair in (("source", (name, str(donor))), ("donor", (str(source), name))):
        assert cli.run(["transfer", *pair, "-o", "out"]) == 2
        message = capsys.readouterr().err
        assert message.startswith(f"salt-ext: {what}: there is no folder")
        assert message.count("\n") == 1
    assert cli.run(["explain", name, "x"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_outputs_that_cannot_be_are_refused_before_the_work(source, donor, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("salt_ext.pipeline.run.Run.match", lambda *_, **__: pytest.fail("it began to work"))
    (tmp_path / "loop").symlink_to("loop")
    for name in ("loop", "x" * 256, "loop/out", "~no-such-user-here/out"):
        output = tmp_path / name if name[0] != "~" else name
        for force in ([], ["--force"]):
            assert cli.run(["transfer", str(source), str(donor), "-o", str(output), *force]) == 2
            assert "the output" in (message := capsys.readouterr().err)
            assert "Traceback" not in message


def test_the_longest_name_works(source, donor, tmp_path):
    output = tmp_path / ("ä" * 127 + "x")
    for force in (False, True):
        salt_ext.transfer(source, donor, output, force=force)
    assert os.listdir(tmp_path) == [output.name]


def test_an_error_of_the_last_check_names_the_output(source, donor, tmp_path, monkeypatch):
    """The plan is spoilt after it was saved, so that what lies in the hidden folder is found wrong."""
    save = TransferPlan.save

    def spoiling(plan: TransferPlan, path: Path) -> None:
        save(plan, path)
        (path.parent / "config.json").write_text("{}")

    monkeypatch.setattr(TransferPlan, "save", spoiling)
    with pytest.raises(OutputError) as caught:
        salt_ext.transfer(source, donor, tmp_path / "out")
    assert str(tmp_path / "out") in str(caught.value)
    assert ".salt-" not in str(caught.value)
    assert os.listdir(tmp_path) == []


def test_a_folder_that_cannot_be_flushed_is_still_published(source, donor, tmp_path, monkeypatch):
    """The folder around the output may be writable without being readable: then it cannot be opened and synced."""
    real = os.open

    def opened(path: object, flags: int, *mode: int, **more: object) -> int:
        if Path(str(path)) == tmp_path:
            raise PermissionError(13, "Permission denied")
        return real(path, flags, *mode, **more)

    monkeypatch.setattr("salt_ext.checkpoint.staging.os.open", opened)
    salt_ext.transfer(source, donor, tmp_path / "out")
    assert os.listdir(tmp_path) == ["out"]
