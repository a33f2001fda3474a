"""What draws a student to its teacher, and to the text: three losses, each a mean.

- states: where both have read the same text, the squared distance of their hidden states at a layer, over the mean
  squared norm of the teacher's there (the objective of Token Distillation, arXiv 2505.20133, made relative).
- chunks: between two such places, how far the probability of the text under the student is from that under the
  teacher: with p^(1/t) of both, the Kullback-Leibler divergence of the two-sided distributions (p, 1 - p), times t
  (the binarised divergence of Approximate Likelihood Matching, arXiv 2503.20083).
- next token: the cross-entropy of the text itself, nats a token.
"""

from __future__ import annotations

import torch
from torch import Tensor

from salt_ext.evaluation.measuring import wide

# The smallest surprisal of a chunk, nats: below it the two-sided distribution has no room for differences.
_LEAST = 1e-4


def states_loss(student: Tensor, teacher: Tensor) -> Tensor:
    """Relative squared distance of hidden states, both [b, width]; float32."""
    target = teacher.float()
    return (student.float() - target).square().sum() / target.square().sum()


def chunks_loss(student: Tensor, teacher: Tensor, *, temperature: float) -> Tensor:
    """Divergence of chunk probabilities.

    Args:
        student, teacher: float32 [c], log-probabilities of chunks, nats.
        temperature: t above; large ones weigh all chunks alike, 1 those that are likely.
    """
    mine, other = (-(each.clamp(max=-_LEAST)) / temperature for each in (student, teacher))
    likely = torch.exp(-other)
    unlikely = -torch.expm1(-other)
    divergence = likely * (mine - other) + unlikely * (unlikely.log() - (-torch.expm1(-mine)).log())
    return temperature * divergence.mean()


def token_log_probabilities(logits: Tensor, ids: Tensor) -> Tensor:
    """log p of each id given what precedes it: float32 [windows, length], 0 for the first of a window.

    Args:
        logits: [windows, length, outputs].
        ids: int64 [windows, length].
    """
    scores = wide(logits[:, :-1])
    found = scores.gather(-1, ids[:, 1:, None])[..., 0] - scores.logsumexp(-1)
    return torch.cat([found.new_zeros(len(ids), 1), found], dim=1)


def chunk_log_probabilities(tokens: Tensor, ends: Tensor, chosen: Tensor) -> Tensor:
    """Sums over the tokens between two boundaries.

    Args:
        tokens: [windows, length], log-probabilities.
        ends: int64 [b], boundaries in the flattened tokens.
        chosen: bool [b], whether the chunk that a boundary ends is wanted.
    """
    reached = tokens.double().flatten().cumsum(0)[ends]
    return reached.diff(prepend=reached.new_zeros(1))[chosen].float()
