"""The whole job on tiny models, against the paper's formula written out in numpy."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from oracles import sparsemax
from safetensors import safe_open

import salt_ext
from salt_ext.errors import InputError
from salt_ext.plan import Provenance, TransferPlan


def tensors_of(folder: Path) -> dict[str, torch.Tensor]:
    found = {}
    for file in folder.glob("*.safetensors"):
        if file.name != "salt_plan.safetensors":
            with safe_open(file, framework="pt") as opened:
                found |= {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
    return found


def shared_tokens(source, target) -> dict[int, int]:
    """Target id -> source id of two byte-level vocabularies, whose equal tokens are spelt alike."""
    ids = source.get_vocab()
    return {number: ids[token] for token, number in target.get_vocab().items() if token in ids}


def expected_row(
    token: int, keys: dict[int, int], vectors: np.ndarray, donor: np.ndarray, source: np.ndarray, temperature: float
) -> np.ndarray:
    """E_t[t] X with X = pinv(A) B formed, all in float64."""
    targets = np.array(sorted(keys))
    similarities = [
        vectors[token] @ vectors[key] / np.linalg.norm(vectors[token]) / np.linalg.norm(vectors[key]) for key in targets
    ]
    support = targets[sparsemax(np.array(similarities) / temperature) > 1e-12]
    a, b = donor[support], source[[keys[key] for key in support]]
    x = np.linalg.pinv(a, rcond=max(a.shape) * np.finfo(np.float32).eps) @ b
    return np.asarray(donor[token] @ x)


@pytest.mark.parametrize("name", ["source", "untied_source"])
@pytest.mark.parametrize("temperature", [1.0, 0.3])
def test_rows_are_the_papers(
    name, temperature, request, donor, word_vectors, source_tokenizer, target_tokenizer, tmp_path
):
    source, (file, vectors) = request.getfixturevalue(name), word_vectors
    result = salt_ext.transfer(
        source,
        donor,
        tmp_path / "out",
        method="salt",
        aux=f"vectors:{file}",
        method_options={"temperature": temperature},
        seed=7,
    )
    before, after, donors = tensors_of(source), tensors_of(tmp_path / "out"), tensors_of(donor)
    shared = shared_tokens(source_tokenizer, target_tokenizer)
    size = len(target_tokenizer)
    decoder, special = target_tokenizer.backend_tokenizer.decoder, set(target_tokenizer.all_special_ids)
    texts = [decoder.decode([token]).strip() for token in target_tokenizer.convert_ids_to_tokens(range(size))]
    table = np.zeros((size, 20))
    for number, text in enumerate(texts):
        if number not in special and text in vectors:
            table[number] = vectors[text]
    has_vector = table.any(axis=1)
    keys = {new: old for new, old in shared.items() if has_vector[new]}
    fresh = [n for n in range(size) if n not in shared and n not in special and has_vector[n]]
    lost = [n for n in range(size) if n not in shared and n not in special and not has_vector[n]]
    assert len(keys) > 40
    assert len(fresh) > 40
    assert lost

    rows = {kind: result.plan.rows(kind).tolist() for kind in Provenance}
    assert rows[Provenance.COPIED] == sorted(shared)
    assert rows[Provenance.REGRESSED] == fresh
    assert rows[Provenance.SAMPLED] == lost
    assert rows[Provenance.AVERAGED] == sorted(special - set(shared))

    # The untied source has rows for 448 tokens, 64 times 7; the tied one as many as tokens.
    height = -(-size // 64) * 64 if name == "untied_source" else size
    assert rows[Provenance.PADDING] == list(range(size, height))
    tables = ["model.embed_tokens.weight"] + ["lm_head.weight"] * (name == "untied_source")
    bound = 1e-4 if name == "source" else 2e-2
    donor_rows = donors["model.embed_tokens.weight"].double().numpy()
    for key in tables:
        old, new = before[key], after[key]
        assert new.dtype == old.dtype
        assert new.shape == (height, old.shape[1])
        assert torch.equal(new[sorted(shared)], old[[shared[n] for n in sorted(shared)]])
        wide = old.double().numpy()
        for token in fresh:
            expected = expected_row(token, keys, table, donor_rows, wide, temperature)
            found = new[token].double().numpy()
            assert np.linalg.norm(found - expected) <= bound * np.linalg.norm(expected), token
        used = wide[: len(source_tokenizer)]
        mean = new[rows[Provenance.AVERAGED] + rows[Provenance.PADDING]].double().numpy()
        np.testing.assert_allclose(mean, np.tile(used.mean(axis=0), (len(mean), 1)), rtol=bound, atol=1e-3)
        drawn = (new[lost].double().numpy() - used.mean(axis=0)) / used.std(axis=0)
        assert abs(drawn.mean()) < 0.15
        assert abs(drawn.std() - 1) < 0.15
    # Everything else is byte-identical.
    assert after.keys() == before.keys()
    for key in after.keys() - set(tables):
        assert torch.equal(after[key].view(torch.uint8), before[key].view(torch.uint8)), key


@pytest.mark.parametrize("aux", ["donor", "vectors"])
@pytest.mark.parametrize(
    ("name", "giver"), [("source", "donor"), ("untied_source", "donor"), ("source", "encoder_donor")]
)
def test_output_is_a_working_model(name, giver, aux, request, word_vectors, tmp_path):
    source, donor = request.getfixturevalue(name), request.getfixturevalue(giver)
    spec = "donor" if aux == "donor" else f"vectors:{word_vectors[0]}"
    result = salt_ext.transfer(source, donor, tmp_path / "out", aux=spec)
    model, info = transformers.AutoModelForCausalLM.from_pretrained(result.output, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    tokenizer = transformers.AutoTokenizer.from_pretrained(result.output)
    original = transformers.AutoTokenizer.from_pretrained(donor)
    assert tokenizer.get_vocab() == original.get_vocab()
    text = "überlozei ungan sa"
    # The source puts nothing around a text, whatever the donor does.
    expected = original(text, add_special_tokens=False)["input_ids"]
    assert tokenizer(text)["input_ids"] == expected
    assert tokenizer.decode(expected) == original.decode(expected)
    assert model.get_input_embeddings().weight.shape[0] == model.config.vocab_size
    assert model.config.vocab_size == (512 if name == "untied_source" else len(tokenizer))
    tied = model.get_output_embeddings().weight is model.get_input_embeddings().weight
    assert tied == (name == "source")
    begin, end = ("bos", "eos") if giver == "donor" else ("cls", "sep")
    assert model.config.bos_token_id == tokenizer.bos_token_id == getattr(original, f"{begin}_token_id")
    assert model.config.eos_token_id == tokenizer.eos_token_id == getattr(original, f"{end}_token_id")
    assert model.config.pad_token_id == tokenizer.pad_token_id
    assert model.generation_config.eos_token_id == model.config.eos_token_id
    prompt = torch.tensor([tokenizer(text, add_special_tokens=False)["input_ids"]])
    made = model.generate(prompt, max_new_tokens=5, do_sample=False)
    assert made.shape[1] > prompt.shape[1]


def test_anchors_keep_the_model(source, donor, source_tokenizer, target_tokenizer, tmp_path):
    """On a text of anchors only, the new model's hidden states are the old one's, bit for bit."""
    result = salt_ext.transfer(source, donor, tmp_path / "out")
    shared = shared_tokens(source_tokenizer, target_tokenizer)
    chosen = sorted(shared)[5:60]
    old = transformers.AutoModelForCausalLM.from_pretrained(source)
    new = transformers.AutoModelForCausalLM.from_pretrained(result.output)
    with torch.no_grad():
        before = old(torch.tensor([[shared[n] for n in chosen]]), output_hidden_states=True)
        after = new(torch.tensor([chosen]), output_hidden_states=True)
    assert torch.equal(after.hidden_states[-1], before.hidden_states[-1])
    columns = [shared[n] for n in chosen]
    torch.testing.assert_close(after.logits[..., chosen], before.logits[..., columns], rtol=1e-5, atol=1e-5)


def test_same_inputs_same_bytes(source, donor, word_vectors, tmp_path):
    """The seed alone decides; neither the number of threads nor the run does, and torch's own setting comes back."""
    usual = torch.get_num_threads()
    for name, seed, threads in (("a", 1, 1), ("b", 1, 2), ("c", 2, 2)):
        aux = f"vectors:{word_vectors[0]}"
        salt_ext.transfer(source, donor, tmp_path / name, aux=aux, seed=seed, threads=threads)
    tables = [tensors_of(tmp_path / name)["model.embed_tokens.weight"] for name in "abc"]
    for file in sorted((tmp_path / "a").iterdir()):
        if file.name != "salt_report.json":  # it tells the time
            assert file.read_bytes() == (tmp_path / "b" / file.name).read_bytes(), file.name
    sampled = TransferPlan.load(tmp_path / "c" / "salt_plan.safetensors").rows(Provenance.SAMPLED)
    differ = (tables[0] != tables[2]).any(dim=1).nonzero()[:, 0]
    assert torch.equal(differ, sampled)
    assert torch.get_num_threads() == usual


def test_plan_serves_a_sibling(source, donor, source_tokenizer, tmp_path):
    """A fine-tune of the source gets, through the saved plan, what its own transfer would give it."""
    result = salt_ext.transfer(source, donor, tmp_path / "out")
    plan = TransferPlan.load(result.output / "salt_plan.safetensors")
    sibling = transformers.AutoModelForCausalLM.from_pretrained(source)
    with torch.no_grad():
        sibling.get_input_embeddings().weight.mul_(1.5)
    sibling.save_pretrained(tmp_path / "sibling")
    source_tokenizer.save_pretrained(tmp_path / "sibling")
    salt_ext.transfer(tmp_path / "sibling", donor, tmp_path / "moved")
    moved = tensors_of(tmp_path / "moved")["model.embed_tokens.weight"]
    assert torch.equal(plan.apply(tensors_of(tmp_path / "sibling")["model.embed_tokens.weight"]), moved)


def test_report(untied_source, donor, word_vectors, target_tokenizer, tmp_path):
    steps: list[tuple[str, int, int]] = []
    result = salt_ext.transfer(
        untied_source,
        donor,
        tmp_path / "out",
        aux=f"vectors:{word_vectors[0]}",
        seed=5,
        progress=lambda *step: steps.append(step),
    )
    report = json.loads((result.output / "salt_report.json").read_text(encoding="utf-8"))
    assert report == result.report
    plan = TransferPlan.load(result.output / "salt_plan.safetensors")
    assert report["options"]["seed"] == plan.seed == 5
    counts = [int((plan.provenance == kind).sum()) for kind in (0, 1, 2, 3, 4)]
    assert list(report["rows"].values()) == [*counts, 512]
    assert report["rows"]["padding"] == 512 - len(target_tokenizer)
    assert sum(report["anchors"]["by_class"].values()) == counts[0]
    assert sum(report["support"]["histogram"].values()) == counts[1]
    assert report["sampled_tokens"]["count"] == counts[3] == len(report["sampled_tokens"]["listed"])
    for number, token in report["sampled_tokens"]["listed"]:
        assert target_tokenizer.convert_ids_to_tokens(number) == token
    sizes = np.diff(plan.crow_indices.numpy())[plan.provenance.numpy() == 1]
    assert report["support"]["size"]["median"] == np.median(sizes)
    new, old = tensors_of(result.output), tensors_of(untied_source)
    anchored = np.unique(plan.col_indices[plan.crow_indices[:-1][plan.provenance == 0]].numpy())
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        norms = report["norms"][name]
        after = np.linalg.norm(new[name].double().numpy(), axis=1)[plan.provenance.numpy() == 1]
        before = np.linalg.norm(old[name].double().numpy(), axis=1)[anchored]
        assert norms["regressed"]["mean"] == pytest.approx(after.mean())
        assert norms["regressed"]["std"] == pytest.approx(after.std())
        assert norms["ratio"] == pytest.approx(after.mean() / before.mean())
    assert {"open the models", "make the new tokens' rows", "write the output"} <= report["seconds"].keys()
    assert report["peak_memory_bytes"] > 50e6
    assert set(report["inputs"]["source"]["sha256"]) >= {"config.json", "tokenizer.json", "lm_head.weight"}
    assert {step for step, *_ in steps} == report["seconds"].keys()
    assert all(0 <= done <= total for _, done, total in steps if total)


def test_report_hashes_are_of_the_bytes(source, donor, tmp_path):
    from hashlib import sha256

    report = salt_ext.transfer(source, donor, tmp_path / "out").report
    hashes = report["inputs"]["source"]["sha256"]
    table = tensors_of(source)["model.embed_tokens.weight"].numpy().tobytes()
    assert hashes["model.embed_tokens.weight"] == sha256(table).hexdigest()
    assert hashes["tokenizer.json"] == sha256((source / "tokenizer.json").read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("temperature", 0.0),
        ("temperature", float("nan")),
        ("ridge", -1.0),
        ("rcond", float("inf")),
        ("seed", -1),
        ("threads", 0),
        ("match", "fuzzy"),
        ("dtype", "int8"),
        ("pad_to_multiple_of", 0),
        ("aux", "nonsense"),
        ("aux", "fasttext:"),
    ],
)
def test_options_are_checked_before_any_work(option, value, tmp_path):
    of_method = option in ("temperature", "rcond", "ridge")
    given = {"method_options": {option: value}} if of_method else {option: value}
    with pytest.raises(InputError, match=option if option != "aux" else "auxiliary"):
        salt_ext.transfer(tmp_path / "absent", tmp_path / "absent", tmp_path / "out", **given)


def test_options_in_one_object_and_by_name(source, donor, tmp_path):
    """What is named takes the place of what the object says; a method's own options are no such object."""
    given = salt_ext.TransferOptions(method="mean", seed=3)
    made = salt_ext.transfer(source, donor, tmp_path / "out", given, seed=4)
    assert {name: made.report["options"][name] for name in ("method", "seed")} == {"method": "mean", "seed": 4}
    with pytest.raises(TypeError, match=r"options is a dict, expected TransferOptions; .* method_options"):
        salt_ext.transfer(source, donor, tmp_path / "other", {"ridge": 0.1})
    with pytest.raises(TypeError, match="temperature"):
        salt_ext.transfer(source, donor, tmp_path / "other", temperature=0.1)
