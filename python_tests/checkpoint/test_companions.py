"""What stays beside a new model is what it needs, and nothing from outside of the source's folder."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from salt_ext.checkpoint.companions import Companions, find_companions
from salt_ext.checkpoint.names import kept_readme
from salt_ext.errors import InputError

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    return folder


def fill(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).write_text(f"content of {name}")


def kept(found: Companions) -> list[str]:
    return [file.name for file in found.kept]


def test_processors_and_legal_texts_are_kept(folder):
    names = ["preprocessor_config.json", "processor_config.json", "video_preprocessor_config.json"]
    names += ["hf_quant_config.json", "LICENSE", "license.txt", "LICENCE.md", "Notice.txt", "NOTICE", "USE_POLICY.md"]
    names += ["LICENSE-MODEL", "THIRD_PARTY_NOTICES.txt", "COPYING", "CITATION.cff", "gemma_license.pdf"]
    fill(folder, *names, "model.safetensors")
    found = find_companions(folder, {"model.safetensors"})
    assert kept(found) == sorted(names)
    assert found.left_out == ()
    assert found.warnings == ()


# Old tokenizers under all their names, what describes another vocabulary, and what is known to nobody.
STRANGE = [
    "tokenizer.model",
    "tokenizer.model.v3",
    "tokenizer.model.v11",
    "tokenizer.model.v7m1",
    "tekken.json",
    "spm.model",
    "sp.model",
    "ice_text.model",
    "spiece.model",
    "source.spm",
    "qwen.tiktoken",
    "cl100k_base.tiktoken",
    "tokenizer.tiktoken",
    "dict.txt",
    "bert_vocab.txt",
    "rwkv_vocab_v20230424.txt",
    "vocab.json",
    "vocab-src.json",
    "target_vocab.json",
    "params.json",
    "merges.txt",
    "added_tokens.json",
    "vocabulary.dat",
    "unigrams.json",
    "notes.txt",
    "license.safetensors",
    "LICENSE.json",
    "notice.key",
    "tokenization_own.py",
    "train.py",
    "modules.json",
    "pytorch_model.bin",
    "model.gguf",
    "tf_model.h5",
    "consolidated.00.pth",
    "adapter_model.bin",
]


@pytest.mark.parametrize("name", STRANGE)
def test_all_else_stays_behind_and_is_listed(folder, name):
    fill(folder, name)
    assert find_companions(folder) == Companions((), (name,), (), ())


def test_own_files_and_hidden_files_are_not_mentioned(folder):
    fill(folder, "generation_config.json", "salt_report.json", "salt_tokenizer.py", ".gitattributes")
    (folder / ".git").mkdir()
    assert find_companions(folder) == Companions((), (), (), ())


def test_descriptions_of_the_source_are_kept_apart(folder):
    fill(folder, "README.md", "README_zh.md", "README.vec")
    (folder / "readme.txt").mkdir()
    found = find_companions(folder)
    assert [file.name for file in found.readmes] == ["README.md", "README_zh.md"]
    assert [kept_readme(file.name) for file in found.readmes] == ["README.source.md", "README_zh.source.md"]
    assert found.left_out == ("README.vec", "readme.txt/")


def test_sub_folders_are_listed(folder):
    (folder / "original").mkdir()
    (folder / "LICENSE").mkdir()
    assert find_companions(folder).left_out == ("LICENSE/", "original/")


def test_a_leftover_adapter_is_told(folder):
    fill(folder, "model.safetensors", "adapter_config.json", "adapter_model.safetensors")
    found = find_companions(folder, {"model.safetensors"})
    assert found.left_out == ("adapter_config.json", "adapter_model.safetensors")
    (warning,) = found.warnings
    assert "holds an adapter (adapter_config.json) beside the model's weights" in warning


def test_code_that_the_configurations_name_and_what_it_imports(folder):
    (folder / "config.json").write_text(
        json.dumps(
            {
                "auto_map": {
                    "AutoConfig": "configuration_own.Config",
                    "AutoModel": ["modeling_own.Model", None],
                    "AutoModelForCausalLM": "org/other--modeling_elsewhere.Model",
                    "AutoModelForSeq2SeqLM": "../outside.Model",
                    "AutoBackbone": 3,
                },
                "text_config": {"auto_map": {"AutoModel": "modeling_text.Model"}},
            }
        )
    )
    (folder / "processor_config.json").write_text('{"auto_map": {"AutoProcessor": "processing_own.Processor"}}')
    (folder / "tokenizer_config.json").write_text('{"auto_map": {"AutoTokenizer": ["tokenization_own.T", null]}}')
    (folder / "preprocessor_config.json").write_text("not JSON")
    fill(
        folder,
        "configuration_own.py",
        "modeling_elsewhere.py",
        "tokenization_own.py",
        "generate.py",
        "modeling_text.py",
    )
    (folder.parent / "outside.py").touch()
    (folder / "modeling_own.py").write_text(
        "import torch\nfrom .configuration_own import Config\n    from .layers import (\n        Layer,\n    )\n"
        "from . import rope, cache\nfrom .missing import nothing\nfrom ..above import nothing\nimport generate\n"
    )
    (folder / "layers.py").write_text("from .modeling_own import Model\nfrom .deep import deeper\n")
    (folder / "processing_own.py").write_bytes(b"from .rope import x\n\xff\xfe")
    fill(folder, "rope.py", "cache.py", "deep.py", "above.py")
    code = ["cache", "configuration_own", "deep", "layers", "modeling_own", "modeling_text", "processing_own", "rope"]
    found = find_companions(folder)
    assert [name for name in kept(found) if name.endswith(".py")] == [f"{name}.py" for name in code]
    assert found.left_out == (
        "above.py",
        "generate.py",
        "modeling_elsewhere.py",
        "tokenization_own.py",
        "tokenizer_config.json",
    )


@pytest.mark.parametrize(
    "config", ["[]", "{", '{"auto_map": []}', '{"auto_map": {"AutoModel": [[1], "a", "a.b.c", ".x"]}}']
)
def test_configurations_that_name_no_code(folder, config):
    (folder / "config.json").write_text(config)
    fill(folder, "a.py", "b.py", ".py")
    assert kept(find_companions(folder)) == []


def test_links_out_of_the_folder_are_not_followed(folder, tmp_path):
    secret = tmp_path / "secret.key"
    secret.write_text("secret")
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "licence").write_text("free")
    links = {"notes.txt": secret, "LICENSE": secret, "NOTICE": folder / "twice", "CITATION.cff": folder / "loop"}
    links |= {"preprocessor_config.json": tmp_path / "models" / ".." / "secret.key", "COPYING": Path("../missing")}
    for name, target in links.items():
        (folder / name).symlink_to(target)
    (folder / "twice").symlink_to(secret)
    (folder / "loop").symlink_to("CITATION.cff")
    found = find_companions(folder)
    assert kept(found) == []
    (warning,) = found.warnings
    assert warning.startswith(f"not copied, since they are links to files outside of {folder}: ")
    # Old tokenizers and weights are replaced anyway: where they lie does not matter.
    for name in (*links, "twice", "loop"):
        (folder / name).unlink()
    (folder / "vocab.txt").symlink_to(secret)
    (folder / "model.safetensors").symlink_to(secret)
    (folder / "original").symlink_to(tmp_path / "models")
    assert find_companions(folder, {"model.safetensors"}).warnings == ()


def test_links_inside_the_folder_and_into_the_cache_are_followed(folder, tmp_path):
    fill(folder, "LICENSE.txt")
    (folder / "LICENSE").symlink_to("LICENSE.txt")
    assert kept(find_companions(folder)) == ["LICENSE", "LICENSE.txt"]
    snapshot = tmp_path / "models--org--name" / "snapshots" / COMMIT
    blobs = tmp_path / "models--org--name" / "blobs"
    for place in (snapshot, blobs, tmp_path / "models--org--other" / "blobs"):
        place.mkdir(parents=True)
    (blobs / "1234").write_text("{}")
    (blobs / "link").symlink_to(folder / "LICENSE")
    (tmp_path / "models--org--other" / "blobs" / "5678").write_text("{}")
    (snapshot / "LICENSE").symlink_to("../../blobs/1234")
    (snapshot / "NOTICE").symlink_to("../../blobs/link")
    (snapshot / "COPYING").symlink_to("../../../models--org--other/blobs/5678")
    found = find_companions(snapshot)
    assert kept(found) == ["LICENSE"]
    assert found.warnings[0].endswith(": COPYING, NOTICE")


def test_blobs_are_of_a_cache_only(tmp_path):
    folder = tmp_path / "models" / COMMIT
    (tmp_path / "blobs").mkdir()
    (tmp_path / "blobs" / "1234").write_text("x")
    folder.mkdir(parents=True)
    (folder / "LICENSE").symlink_to("../../blobs/1234")
    assert kept(find_companions(folder)) == []


@pytest.mark.skipif(os.name != "posix", reason="needs pipes and devices")
def test_pipes_and_devices_are_no_companions(folder):
    os.mkfifo(folder / "LICENSE")
    (folder / "NOTICE").symlink_to("/dev/zero")
    assert kept(find_companions(folder)) == []


def test_a_folder_that_is_gone(tmp_path):
    with pytest.raises(InputError, match="gone cannot be read: No such file"):
        find_companions(tmp_path / "gone")
