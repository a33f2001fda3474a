"""Untrained rows that were planted are found, with the new rows that lean on them."""

from __future__ import annotations

import torch
from factories import make_vocabulary, words

from salt_ext.diagnosis.undertrained import find_undertrained

SIZE, WIDTH = 300, 16


def test_planted_rows_are_found(made_up):
    generator = torch.Generator().manual_seed(0)
    source = make_vocabulary([*words(SIZE), "<used>", "<free1>", "<free2>"])
    table = torch.randn(source.size + 6, WIDTH, generator=generator)
    unused = torch.randn(WIDTH, generator=generator)
    # Padding behind the vocabulary shows what no training has touched; two words and two special tokens are like it.
    like = [7, 8, SIZE + 1, SIZE + 2, *range(source.size, source.size + 6)]
    table[like] = 0.3 * unused + 0.001 * torch.randn(len(like), WIDTH, generator=generator)
    table[9] *= 30

    target = make_vocabulary([*words(20), "<used>", "<free1>", " new", " other"])
    copies = {number: number for number in range(20)} | {20: SIZE, 21: SIZE + 1}
    made = {22: {7: 0.3, 30: 0.7}, 23: {8: -0.1, 31: 0.9}}
    subject = made_up(target, torch.zeros(target.size, 4), copies, made, source_rows=source.size)
    donor = torch.randn(target.size, 5, generator=generator)
    donor[3] *= 1e4

    found = find_undertrained(subject, table, source, donor)
    assert [token for _, token, _ in found.rows] == [" t7", " t8", " t9", "<free1>"]
    assert (found.count, found.text, found.anchors) == (4, 3, 22)
    assert found.rows[2][2] > 15
    assert (found.leaning, found.made) == (1, 2)
    assert found.donor_tokens == (" t3",)


def test_trained_rows_are_left_alone(made_up):
    generator = torch.Generator().manual_seed(1)
    source = make_vocabulary(words(SIZE))
    table = torch.randn(SIZE, WIDTH, generator=generator) + 1
    target = make_vocabulary(words(50))
    copies = {number: number for number in range(50)}
    subject = made_up(target, torch.zeros(50, 4), copies, {}, source_rows=SIZE)
    found = find_undertrained(subject, table, source, None)
    assert (found.count, found.leaning, found.made, found.donor) == (0, 0, 0, None)
