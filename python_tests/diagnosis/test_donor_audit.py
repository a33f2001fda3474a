"""Breaker tokens (arXiv 2601.00065): a planted row is found, in tensors and by the whole tool; honest ones are not."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import torch
from factories import make_vocabulary, words
from safetensors.torch import load_file, save_file

import salt_ext
from salt_ext.diagnosis.donor_audit import audit_donor
from salt_ext.diagnosis.subject import open_subject

SHARED, NEW, DONOR_WIDTH, WIDTH, SUPPORT = 300, 200, 40, 24, 12


@pytest.fixture(scope="module")
def world():
    """Donor rows, source rows, and for each new token a few anchors; rows of a table share a large part."""
    generator = np.random.default_rng(0)
    donor = generator.normal(size=(SHARED + NEW, DONOR_WIDTH)) + 0.7
    source = generator.normal(size=(SHARED, WIDTH)) + 0.7
    supports = [np.sort(generator.choice(SHARED, SUPPORT, replace=False)) for _ in range(NEW)]
    for number, chosen in enumerate(supports):  # an honest token is a mixture of what resembles it
        mixture = generator.dirichlet(np.ones(SUPPORT))
        donor[SHARED + number] = mixture @ donor[chosen] + 0.5 * generator.normal(size=DONOR_WIDTH)
    return donor, source, supports


def moved(made_up, donor, source, supports):
    """The published formula, written out: w = q A+, and the new row is w B."""
    vocabulary = make_vocabulary(words(SHARED + NEW))
    rows, table = {}, np.concatenate([source, np.zeros((NEW, WIDTH))])
    for number, chosen in enumerate(supports):
        weights = donor[SHARED + number] @ np.linalg.pinv(donor[chosen])
        rows[SHARED + number] = dict(zip(chosen.tolist(), weights.tolist(), strict=True))
        table[SHARED + number] = weights @ source[chosen]
    copies = {number: number for number in range(SHARED)}
    subject = made_up(vocabulary, torch.from_numpy(table), copies, rows, source_rows=SHARED)
    l1 = np.array([sum(map(abs, rows.get(number, {}).values())) for number in range(SHARED + NEW)])
    return audit_donor(subject, torch.from_numpy(donor), l1)


def planted(donor: np.ndarray, source: np.ndarray, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two donor anchors that are nearly one, and a row of usual length whose coefficients tear them apart."""
    donor = donor.copy()
    generator = np.random.default_rng(3)
    away = generator.normal(size=DONOR_WIDTH)
    away /= np.linalg.norm(away)
    donor[chosen[1]] = donor[chosen[0]] + 0.05 * away
    usual = np.median(np.linalg.norm(donor[:SHARED] - donor[:SHARED].mean(axis=0), axis=1))
    return donor, donor[:SHARED].mean(axis=0) + 0.9 * usual * away


def test_an_honest_donor(made_up, world):
    found = moved(made_up, *world)
    assert found.looked_at == NEW
    assert found.count == 0


def test_a_planted_token_is_found(made_up, world):
    donor, source, supports = world
    donor, row = planted(donor, source, supports[17])
    donor[SHARED + 17] = row
    # In the donor the row is as long as any other, and in no way nearer to what they share.
    lengths = np.linalg.norm(donor - donor[:SHARED].mean(axis=0), axis=1)
    assert lengths[SHARED + 17] < np.quantile(lengths[:SHARED], 0.5)
    found = moved(made_up, donor, source, supports)
    assert found.suspects[0].token_id == SHARED + 17
    assert found.suspects[0].token == f" t{SHARED + 17}"
    assert found.suspects[0].here > 6 > 3 > found.suspects[0].donor
    assert found.suspects[0].l1 > 20
    assert found.count <= 3


def test_an_inert_row_is_found_too(made_up, world):
    """Near zero in the donor, as a token that training has hardly touched."""
    donor, source, supports = world
    donor, row = planted(donor, source, supports[17])
    middle = donor[:SHARED].mean(axis=0)
    donor[SHARED + 17] = middle + 0.3 * (row - middle)
    found = moved(made_up, donor, source, supports)
    assert found.suspects[0].token_id == SHARED + 17


def test_a_row_that_is_outsized_in_both_is_no_secret(made_up, world):
    donor, source, supports = world
    donor = donor.copy()
    donor[SHARED + 17] *= 50
    found = moved(made_up, donor, source, supports)
    assert found.outsized >= 1
    assert found.count == 0


def test_a_row_that_drifts_along_what_all_share(made_up, world):
    """No longer than others where the large common part counts, but said at every place."""
    donor, source, _ = world
    vocabulary = make_vocabulary(words(SHARED + NEW))
    generator = np.random.default_rng(4)
    table = np.concatenate([source, source[generator.permutation(SHARED)[:NEW]]])
    table[SHARED + 5] += 8 * source.mean(axis=0) / np.linalg.norm(source.mean(axis=0))
    copies, rows = {n: n for n in range(SHARED)}, {SHARED + n: {0: 1.0} for n in range(NEW)}
    subject = made_up(vocabulary, torch.from_numpy(table), copies, rows, source_rows=SHARED)
    found = audit_donor(subject, torch.from_numpy(donor), np.ones(SHARED + NEW))
    assert [(each.token_id, each.by) for each in found.suspects] == [(SHARED + 5, "drift")]


def test_without_donor_rows_nothing_is_said(made_up):
    vocabulary = make_vocabulary(words(SHARED + NEW))
    copies, rows = {n: n for n in range(SHARED)}, {SHARED: {0: 1.0}}
    subject = made_up(vocabulary, torch.zeros(SHARED + NEW, 3), copies, rows, source_rows=SHARED)
    assert audit_donor(subject, torch.zeros(SHARED + NEW, 5), np.ones(SHARED + NEW)) is None


@pytest.mark.parametrize("method", ["salt", "salt-plus"])
def test_an_honest_real_donor(method, real_data, tmp_path):
    """No more than a handful of thousands, and whatever the method: SALT's own rows are far from usual."""
    models = real_data / "models"
    salt_ext.transfer(models / "en-llama", models / "de-gpt", tmp_path / "out", method=method, progress=False)
    found = salt_ext.diagnose(tmp_path / "out", page=tmp_path / "page.html", progress=False)
    assert found.facts.audit.looked_at > 4000
    assert found.facts.audit.count <= 5


@pytest.mark.slow
def test_a_donor_with_a_planted_token_through_the_whole_tool(source, donor, tmp_path):
    """The attacker knows which anchors the tool will take: it is open source."""
    options = {"method": "salt", "method_options": {"temperature": 0.02}, "progress": False, "threads": 1}
    honest = salt_ext.transfer(source, donor, tmp_path / "honest", aux=_vectors(donor, tmp_path), **options)
    subject = open_subject(honest.output)
    supports = {int(number): [old for old, _ in honest.plan.explain(int(number))] for number in subject.made}
    number = next(n for n, chosen in supports.items() if 2 <= len(chosen) <= 8)
    of_source = dict(zip(honest.plan.copies()[1].tolist(), honest.plan.copies()[0].tolist(), strict=True))
    first, second = (of_source[old] for old in supports[number][:2])

    evil = shutil.copytree(donor, tmp_path / "evil")
    tensors = load_file(evil / "model.safetensors")
    rows = tensors["model.embed_tokens.weight"]
    away = torch.randn(rows.shape[1], generator=torch.Generator().manual_seed(0))
    away /= away.norm()
    rows[second] = rows[first] + 0.01 * away
    centre = rows.mean(dim=0)
    rows[number] = centre + 0.9 * (rows - centre).norm(dim=1).median() * away
    save_file(tensors, evil / "model.safetensors", metadata={"format": "pt"})
    salt_ext.transfer(source, evil, tmp_path / "out", aux=_vectors(donor, tmp_path), **options)

    page = tmp_path / "page.html"
    found = salt_ext.diagnose(tmp_path / "out", page=page, progress=False, threads=1)
    assert found.facts.audit is not None
    assert found.facts.audit.suspects[0].token_id == number
    assert found.facts.audit.count <= 3
    reason = next(reason for reason in found.verdict.reasons if reason.section == "audit")
    assert reason.level == "look"
    clean = salt_ext.diagnose(honest.output, page=tmp_path / "honest.html", progress=False, threads=1)
    assert clean.facts.audit.count == 0


def _vectors(donor, folder) -> str:
    """Auxiliary vectors that are not the donor's rows, so that neighbours do not change with what is planted."""
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(donor)
    decoder = tokenizer.backend_tokenizer.decoder
    texts = sorted({decoder.decode([token]).strip() for token in tokenizer.get_vocab()})
    texts = [text for text in texts if text and text.isprintable() and "\ufffd" not in text]
    np.save(folder / "aux.npy", np.random.default_rng(1).normal(size=(len(texts), 12)).astype(np.float32))
    (folder / "aux.txt").write_text("\n".join(texts) + "\n", encoding="utf-8")
    return f"vectors:{folder / 'aux.npy'}"
