"""The commands as a user types them."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

import pytest
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers

import salt_ext
from salt_ext import cli
from salt_ext.plan import Provenance

from .conftest import save_model


@pytest.fixture(scope="module")
def moved(tmp_path_factory, source, donor, word_vectors) -> salt_ext.TransferResult:
    return salt_ext.transfer(
        source, donor, tmp_path_factory.mktemp("cli") / "out", method="salt", aux=f"vectors:{word_vectors[0]}"
    )


def output_of(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    capsys.readouterr()
    assert cli.run([str(argument) for argument in arguments]) == 0
    return " ".join(capsys.readouterr().out.split())


def test_help_names_every_command(capsys):
    printed = output_of(capsys, "--help")
    for command in ("transfer", "inspect", "explain", "compare", "demo"):
        assert command in printed


@pytest.mark.parametrize("command", ["transfer", "inspect", "explain", "compare"])
def test_a_missing_argument_is_named(command, capsys):
    """typer before 0.17.5 passes what is not there on to the command, with a click that is newer than itself."""
    assert cli.run([command]) == 2
    assert "Missing argument" in capsys.readouterr().err


def test_version(capsys):
    printed = output_of(capsys, "--version")
    assert f"salt-ext {salt_ext.__version__}" in printed
    assert "cpu: isa" in printed
    assert "cuda: " in printed


def test_help_does_not_wait_for_transformers():
    code = "import sys; from salt_ext import cli; cli.run(['--help']); sys.exit('transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


def test_transfer_prints_its_summary(capsys, source, donor, tmp_path):
    printed = output_of(capsys, "transfer", source, donor, "-o", tmp_path / "out", "--threads", 1)
    for word in (
        "copied",
        "regressed",
        "averaged",
        "sampled",
        "anchors",
        "source tokens per new token",
        "ratio",
        "peak memory",
    ):
        assert word in printed


def test_quiet_prints_nothing(capfd, source, donor, tmp_path):
    """Nothing from the libraries below either."""
    assert cli.run(["transfer", str(source), str(donor), "-o", str(tmp_path / "out"), "--quiet"]) == 0
    assert capfd.readouterr() == ("", "")


def test_no_bars_in_a_pipe(source, donor, tmp_path):
    command = [sys.executable, "-m", "salt_ext", "transfer", source, donor, "-o", tmp_path / "out"]
    done = subprocess.run(command, capture_output=True, check=True)
    assert done.stderr == b""
    assert b"regressed" in done.stdout
    assert b"\x1b" not in done.stdout


@pytest.mark.skipif(sys.platform != "linux", reason="reads a pseudo-terminal the way Linux ends it")
def test_bars_on_a_terminal(source, donor, tmp_path):
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "salt_ext", "transfer", source, donor, "-o", tmp_path / "out"]
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "100"}
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=theirs, env=environment) as process:
        os.close(theirs)
        drawn = b""
        while True:
            try:
                part = os.read(ours, 65536)
            except OSError:  # the other end is closed
                break
            if not part:
                break
            drawn += part
    os.close(ours)
    assert process.returncode == 0
    assert b"make the new tokens' rows" in drawn
    assert b"100%" in drawn


def test_explain_a_regressed_token(capsys, moved, target_tokenizer, source_tokenizer):
    number = int(moved.plan.rows(Provenance.REGRESSED)[3])
    printed = output_of(capsys, "explain", moved.output, f"#{number}")
    assert f"#{number} " in printed
    assert "regressed, residual 0." in printed
    (best, weight), *_ = moved.plan.explain(number)
    text = source_tokenizer.backend_tokenizer.decoder.decode(source_tokenizer.convert_ids_to_tokens([best]))
    assert f"{weight:+.4f} │ {best} │ {text!r}" in printed


def test_explain_a_row_with_a_low_rank_part(capsys, source, donor, tmp_path):
    """A row of a map alone has no source token of its own; the explanation must not be empty."""
    result = salt_ext.transfer(source, donor, tmp_path / "out", method="global")
    low_rank = result.plan.low_rank
    assert low_rank is not None
    printed = output_of(capsys, "explain", result.output, f"#{int(low_rank.rows[5])}")
    assert f"one map of {len(low_rank.columns):,} source rows" in printed
    copied = int(result.plan.rows(Provenance.COPIED)[0])
    assert "one map of" not in output_of(capsys, "explain", result.output, f"#{copied}")


def test_explain_by_spelling_and_text(capsys, moved, target_tokenizer):
    ids = target_tokenizer.get_vocab()
    token = next(token for token in ids if token[:1] == "Ġ" and token[1:] in ids and token[1:].isascii())
    assert f"#{ids[token]} ' {token[1:]}'" in output_of(capsys, "explain", moved.output, token)
    assert f"#{ids[token[1:]]} '{token[1:]}'" in output_of(capsys, "explain", moved.output, token[1:])
    assert f"#{ids[token]} ' {token[1:]}'" in output_of(capsys, "explain", moved.output, " " + token[1:])


def test_explain_copied_sampled_and_averaged(capsys, moved, target_tokenizer, source_tokenizer):
    printed = output_of(capsys, "explain", moved.output, "<s>", "<mask>")
    assert "'<s>': copied" in printed
    assert f"+1.0000 │ {source_tokenizer.bos_token_id} │ '<s>'" in printed
    assert "'<mask>': averaged" in printed
    number = int(moved.plan.rows(Provenance.SAMPLED)[0])
    assert ": sampled" in output_of(capsys, "explain", moved.output, f"#{number}")


@pytest.mark.parametrize(
    ("token", "says"), [("#99999", "no such id"), ("xyzzy", "not in the vocabulary"), ("#-1", "not in the vocabulary")]
)
def test_explain_what_is_not_there(token, says, capsys, moved):
    assert cli.run(["explain", str(moved.output), token]) == 2
    assert says in capsys.readouterr().err


def test_explain_a_folder_without_a_plan(capsys, source):
    assert cli.run(["explain", str(source), "a"]) == 2
    assert "has no salt_plan.safetensors" in capsys.readouterr().err


def test_inspect(capsys, source, donor, source_tokenizer, target_tokenizer, tmp_path):
    line = "lomi überung sa\n"
    (tmp_path / "text.txt").write_text(line * 40, encoding="utf-8")
    printed = output_of(capsys, "inspect", source, donor, "--text", tmp_path / "text.txt")
    assert printed.startswith("Special tokens")
    assert "'<mask>' │ none: mean row" in printed
    ids = source_tokenizer.get_vocab()
    special = target_tokenizer.all_special_tokens
    same = [token for token in target_tokenizer.get_vocab() if token in ids and token not in special]
    byte_kinds = [token for token in same if "\ufffd" in target_tokenizer.backend_tokenizer.decoder.decode([token])]
    assert f"anchors, byte │ {len(byte_kinds)} │" in printed
    assert f"anchors, exact │ {len(same) - len(byte_kinds)} │" in printed
    fresh = len(target_tokenizer) - len(same) - len(special)
    assert f"new tokens │ {fresh} │" in printed
    size = len(line.strip().encode())
    for tokenizer in (source_tokenizer, target_tokenizer):
        count = len(tokenizer(line.strip(), add_special_tokens=False)["input_ids"])
        assert f"{size / count:.3f}" in printed


def test_inspect_reads_no_tensor(capsys, source, donor, copy_of):
    """Headers say enough: tables full of NaN pass."""
    damaged = copy_of(source)
    file = damaged / "model.safetensors"
    data = file.read_bytes()
    begin = 8 + int.from_bytes(data[:8], "little")
    file.write_bytes(data[:begin] + b"\xff" * (len(data) - begin))
    assert "anchors, exact" in output_of(capsys, "inspect", damaged, donor)


def test_inspect_warns_of_a_lossy_tokenizer(capsys, source, encoder_donor, tmp_path):
    printed = output_of(capsys, "inspect", source, encoder_donor)
    assert "the new tokenizer (WordPiece) loses capital letters, accents, line breaks, tabs, repeated spaces" in printed
    assert "lines of" not in printed
    (tmp_path / "text.txt").write_text("an\nSa an\nen\n", encoding="utf-8")
    printed = output_of(capsys, "inspect", source, encoder_donor, "--text", tmp_path / "text.txt")
    assert "1 of 3 lines of" in printed
    assert "'Sa an' comes back as 'sa an'" in printed


def test_inspect_shows_the_map_as_it_will_be(capsys, source, encoder_donor):
    """The frame is the source's, so the encoder's own tokens only play its roles."""
    printed = output_of(capsys, "inspect", source, encoder_donor)
    assert "bos │ 2 │ '[CLS]' │ '<s>'" in printed
    assert "eos │ 3 │ '[SEP]' │ '</s>'" in printed
    assert "│ 4 │ '[MASK]' │ none: mean row" in printed


def test_inspect_does_not_warn_of_a_lossless_one(capsys, source, donor):
    assert "warning" not in output_of(capsys, "inspect", source, donor)


@pytest.mark.parametrize(
    ("content", "says"), [(None, "cannot be read"), (b"", "holds no text"), (b"ab\xff", "not UTF-8: byte 2")]
)
def test_inspect_text_that_cannot_be_read(content, says, capsys, source, donor, tmp_path):
    file = tmp_path / "text.txt"
    if content is not None:
        file.write_bytes(content)
    assert cli.run(["inspect", str(source), str(donor), "--text", str(file)]) == 2
    assert says in capsys.readouterr().err


def test_inspect_cuts_a_long_text_at_a_line(capsys, source, donor, tmp_path):
    """Two mebibytes are read, and no character is cut."""
    (tmp_path / "long.txt").write_text("ü" * 499 + "\n" + ("ö" * 1000 + "\n") * 1200, encoding="utf-8")
    printed = output_of(capsys, "inspect", source, donor, "--text", tmp_path / "long.txt")
    assert "│ 1.000 │" in printed  # the source has no ü: one token for every byte


def test_match_widens_the_anchors(source, donor, tmp_path):
    anchors = {
        level: salt_ext.transfer(source, donor, tmp_path / level, match=level).report["anchors"]
        for level in ("exact", "case", "loose")
    }
    assert anchors["exact"]["total"] <= anchors["case"]["total"] < anchors["loose"]["total"]
    assert anchors["loose"]["by_class"]["loose"] > 0


def test_inspect_warns_of_few_anchors_and_adds_an_end(capsys, source, tmp_path):
    """A vocabulary of its own words, without any special token but the unknown one."""
    inner = Tokenizer(models.WordLevel({"<unk>": 0} | {f"wort{n}": n for n in range(1, 60)}, unk_token="<unk>"))
    inner.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="<unk>")
    printed = output_of(capsys, "inspect", source, save_model(tmp_path / "words", tokenizer))
    assert "only 0 of 62 target tokens (0.0%) are anchors" in printed
    assert "eos │ 61 │ '</s>' (added) │ '</s>'" in printed


def test_inspect_warns_of_tokens_that_the_source_looks_up_elsewhere(capsys, monkeypatch, source, donor):
    """As Gemma3n's end of an image, whose row is in a table of the vision part."""
    monkeypatch.setattr("salt_ext.pair.warnings.reserved_rows", lambda config: 419)
    printed = output_of(capsys, "inspect", source, donor)
    assert "the source looks '</s>', '<unk>'," in printed
    assert "they get the rows of the text's table" in printed
    assert "'<s>', '</s>'" not in printed
