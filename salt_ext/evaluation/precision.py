"""The numbers that a model computes in while it is measured and trained: half precision where the machine has it.

Weights stay as they are (float32 where they are trained): matrix products alone are taken in the narrower dtype, by
torch's autocast, and log-probabilities are float32. On SmolLM2-135M, 10 kB of German and of English text:

    weights    products   bits per byte, German / English    CPU seconds
    float32    float32    1.77378 / 1.01076                  16.5 / 9.2
    float32    bfloat16   1.77434 / 1.01111                   9.3 / 6.1
    bfloat16   bfloat16   1.77428 / 1.01043                   9.4 / 5.7

so that bfloat16 moves the third digit behind the point by less than one, whichever way the weights are kept. Moved to
German, the same holds with sub-word, FOCUS and mean rows; rows drawn at random (8 bits per byte) move by 0.0065.
"""

from __future__ import annotations

import torch

# AMX has bfloat16 wherever it has tiles at all.
_ON_CPU = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")


def fast_dtype(device: torch.device) -> torch.dtype:
    """bfloat16 where the device multiplies it natively, else float32."""
    if device.type == "cuda":
        fast = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        fast = any(getattr(torch.cpu, name, lambda: False)() for name in _ON_CPU)
    return torch.bfloat16 if fast else torch.float32


def computing_in(dtype: torch.dtype | None, device: torch.device) -> torch.autocast:
    """The block in which matrix products are taken in bfloat16 or float16; any other dtype is the weights' own."""
    narrow = dtype in (torch.bfloat16, torch.float16)
    return torch.autocast(device.type, dtype=dtype if narrow else torch.bfloat16, enabled=narrow)
