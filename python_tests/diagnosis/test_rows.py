"""Figures of rows, against the plan's file and the model's file read by safetensors alone."""

from __future__ import annotations

import numpy as np
import pytest
from safetensors.numpy import load_file

from salt_ext.diagnosis.rows import describe_rows, row_figures
from salt_ext.diagnosis.subject import open_subject
from salt_ext.diagnosis.token_table import make_token_table


@pytest.fixture(scope="module")
def opened(moved):
    subject = open_subject(moved)
    return subject, row_figures(subject)


@pytest.fixture(scope="module")
def files(moved):
    return load_file(moved / "salt_plan.safetensors"), load_file(moved / "model.safetensors")


def test_norms_are_shares_of_the_median_text_anchor(opened, files, moved):
    subject, figures = opened
    plan, weights = files
    norms = np.linalg.norm(weights["model.embed_tokens.weight"].astype(np.float64), axis=1)
    tokens = subject.tokenizer.get_vocab()
    copied = np.flatnonzero(plan["provenance"] == 0)
    spelt = {number: token for token, number in tokens.items()}
    decoder = subject.tokenizer.backend_tokenizer.decoder
    text = [n for n in copied if n > 2 and "\ufffd" not in decoder.decode([spelt[n]])]
    assert figures.median_norm == pytest.approx(np.median(norms[text]))
    assert np.allclose(figures.norm_ratio, norms[: len(tokens)] / np.median(norms[text]))


def test_weights_are_the_plans(opened, files):
    _, figures = opened
    plan, _ = files
    crow, values = plan["crow_indices"], plan["values"].astype(np.float64)
    for number in range(0, len(figures.l1), 7):
        own = values[crow[number] : crow[number + 1]]
        assert figures.support[number] == len(own)
        assert figures.l1[number] == pytest.approx(np.abs(own).sum())
        assert figures.weight_sum[number] == pytest.approx(own.sum())


def test_the_worst_rows_are_the_extremes(opened, files):
    subject, figures = opened
    plan, _ = files
    made = np.flatnonzero(plan["provenance"] == 1)
    worst = {each.by: each.rows for each in describe_rows(subject, figures).worst}
    longest = worst["longest, in anchors' median norms"]
    assert longest[0][2] == figures.norm_ratio[made].max()
    assert [value for *_, value in longest] == sorted((value for *_, value in longest), reverse=True)
    assert worst["shortest, in anchors' median norms"][0][2] == figures.norm_ratio[made].min()
    assert worst["largest ‖w‖₁"][0][2] == pytest.approx(figures.l1[made].max())
    assert worst["residual: most of the donor's row is left"][0][2] == pytest.approx(plan["residual"][made].max())


def test_histograms_count_every_row_once(opened):
    rows = describe_rows(*opened)
    for histogram in (rows.norms, rows.l1):
        assert sum(histogram.new) == pytest.approx(1)
    assert sum(rows.norms.anchors) == pytest.approx(1)
    assert rows.counts["copied"] + rows.counts["regressed"] + rows.counts["averaged"] > 350


def test_the_table_has_each_row_with_its_heaviest_sources(opened, files):
    subject, figures = opened
    plan, _ = files
    table = make_token_table(subject, figures, None)
    assert table.left_out == 0
    assert [row[0] for row in table.rows] == list(range(len(table.rows)))
    number = int(np.flatnonzero(plan["provenance"] == 1)[5])
    begin, end = plan["crow_indices"][number : number + 2]
    pairs = zip(plan["col_indices"][begin:end].tolist(), plan["values"][begin:end].tolist(), strict=True)
    heaviest = sorted(pairs, key=lambda pair: -abs(pair[1]))[:6]
    listed = table.rows[number][8]
    assert [table.names[place] for place in listed[::2]] == [subject.source_tokens[old] for old, _ in heaviest]
    assert listed[1::2] == [round(weight, 3) for _, weight in heaviest]


def test_what_does_not_fit_is_the_least_relevant(opened):
    """Anchors go first, then the new tokens that the text has least."""
    subject, figures = opened
    counts = np.zeros(subject.vocabulary.size, dtype=np.int64)
    frequent = subject.made[-3:]
    counts[frequent] = [5, 9, 7]
    table = make_token_table(subject, figures, counts, most=2)
    assert [row[0] for row in table.rows] == frequent[1:].tolist()
    assert [row[7] for row in table.rows] == [9, 7]
    assert table.left_out == subject.has_token.sum() - 2
