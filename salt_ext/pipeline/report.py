"""salt_report.json: what happened, in numbers."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from salt_ext.files.digest import file_sha256
from salt_ext.files.json_text import json_text
from salt_ext.files.output_file import write_anew
from salt_ext.ops.loader import cpu_isa
from salt_ext.pair.left_out import left_out_of
from salt_ext.pair.special_map import special_map
from salt_ext.pair.tokenizer_alone import TokenizerAlone
from salt_ext.plan import Provenance, TransferPlan
from salt_ext.runtime.machine import cpu_name, peak_memory
from salt_ext.vocab import Anchors

if TYPE_CHECKING:
    from salt_ext.pair.pair import Model
    from salt_ext.pair.table_facts import TableFacts
    from salt_ext.pipeline.run import Checked, Made, Run
    from salt_ext.vectors import VectorSource

_PACKAGES = ("salt-ext", "torch", "transformers", "tokenizers", "safetensors", "huggingface_hub", "numpy")
# The list is there to be looked through by a person; its full length stands beside it.
_LISTED_TOKENS = 1000
_QUANTILES = {"min": 0.0, "p05": 0.05, "median": 0.5, "p95": 0.95, "max": 1.0}
_HASHED_FILES = ("config.json", "tokenizer.json", "tokenizer.model", "tokenizer_config.json")


def build_report(
    run: Run,
    anchors: Anchors,
    made: Made,
    before: Mapping[str, TableFacts],
    checked: Checked,
    *,
    folder: Path,
    warnings: Sequence[str],
) -> dict[str, Any]:
    """Everything that salt_report.json holds; numbers only where they are known, null elsewhere.

    Args:
        run: the transfer.
        anchors: the tokens that the vocabularies share.
        made: how the new rows were made.
        before: facts of each vocabulary tensor of the source.
        checked: what the new folder was found to be.
        folder: the new folder.
        warnings: sentences for the user.
    """
    pair, plan, method, decision = run.pair, made.plan, made.method.info, made.decision
    donor, companions = run.tables.donor_facts, pair.source.checkpoint.companions()
    donor_rows = None if donor is None else "the donor's input table"
    target = pair.target.vocabulary
    sampled = plan.rows(Provenance.SAMPLED).tolist()
    return {
        "made_by": "salt-ext",
        "method": {"name": method.name, "paper": method.paper, "facts": dict(made.combined.facts)},
        "choice": None if decision is None else decision.as_json(),
        "finished": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "inputs": {
            "hashes": "SHA-256 of configuration and tokenizer files, and of the bytes of every table that was read; "
            "other weights are copied unread",
            "source": _model_facts(pair.source, {name: facts.sha256 for name, facts in before.items()}),
            "donor": _tokenizer_facts(pair.donor)
            if isinstance(pair.donor, TokenizerAlone)
            else _model_facts(pair.donor, {} if donor is None else {"input table": donor.sha256}),
            "donor rows": "the auxiliary vectors" if run.tables.stood_in else donor_rows,
            "auxiliary vectors": _vector_facts(pair.donor, run.vectors),
        },
        "options": run.options.as_json(),
        "machine": {
            "cpu": cpu_name(),
            "instruction_set": cpu_isa(),
            "threads": torch.get_num_threads(),
            "ops_ran_on": dict(run.placement.ran),
            "python": platform.python_version(),
            "system": platform.platform(),
            "packages": {name: version(name) for name in _PACKAGES},
        },
        "tokenizer": {
            "name": target.name,
            "kind": target.kind,
            "ids": target.size,
            "added": [[number, target.tokens[number]] for number in pair.target.added],
            "left_out": {reason: [list(token) for token in tokens] for reason, tokens in left_out_of(pair).items()},
        },
        "special_tokens": special_map(pair, anchors),
        "anchors": {"by_class": anchors.counts(), "total": len(anchors), "collisions": dict(anchors.collisions)},
        "rows": {kind.name.lower(): len(plan.rows(kind)) for kind in Provenance} | {"total": plan.target_rows},
        "support": _support(plan),
        "norms": {name: _norms(plan, facts.norms, checked.norms[name]) for name, facts in before.items()},
        "sampled_tokens": {
            "count": len(sampled),
            "listed": [[number, target.tokens[number]] for number in sampled[:_LISTED_TOKENS]],
        },
        "files": {
            "copied": [file.name for file in companions.kept],
            "left_out": [name for name in companions.left_out if not (folder / name).exists()],
        },
        "checks": checked.checks,
        "warnings": list(warnings),
        "seconds": {name: round(value, 4) for name, value in run.clock.seconds.items()},
        "peak_memory_bytes": peak_memory(),
        "peak_memory_before_check_bytes": checked.peak_before,
    }


def write_report(report: Mapping[str, Any], file: Path) -> None:
    """Writes the report as strict JSON.

    Raises:
        OutputError: the file cannot be written.
    """
    write_anew(file, json_text(report, strict=True).encode(), what="the report")


def _model_facts(model: Model, tables: Mapping[str, str]) -> dict[str, Any]:
    checkpoint = model.checkpoint
    files = [checkpoint.folder / name for name in _HASHED_FILES]
    return {
        "folder": str(checkpoint.folder),
        "architectures": checkpoint.config.get("architectures"),
        "tokenizer": model.vocabulary.kind,
        "ids": model.vocabulary.size,
        "table_rows": checkpoint.rows,
        "sha256": {file.name: file_sha256(file) for file in files if file.is_file()} | dict(tables),
    }


def _tokenizer_facts(alone: TokenizerAlone) -> dict[str, Any]:
    """The same keys as of a model, null where there is nothing to be known."""
    path, folder = alone.path, alone.path.is_dir()
    files = [path / name for name in _HASHED_FILES] if folder else [path]
    return {
        "folder" if folder else "file": str(path),
        "architectures": None,
        "tokenizer": alone.vocabulary.kind,
        "ids": alone.vocabulary.size,
        "table_rows": None,
        "sha256": {file.name: file_sha256(file) for file in files if file.is_file()},
    }


def _vector_facts(donor: Model | TokenizerAlone, vectors: VectorSource | None) -> dict[str, Any] | None:
    if vectors is not None:
        return {"name": vectors.name, "dimensions": vectors.dim}
    return None if isinstance(donor, TokenizerAlone) else {"name": "the donor's input table"}


def _support(plan: TransferPlan) -> dict[str, Any]:
    """Neighbours, sum of absolute weights and residual of the regressed rows."""
    rows = plan.rows(Provenance.REGRESSED)
    sizes = plan.crow_indices.diff()[rows]
    sums = torch.zeros(plan.target_rows, dtype=torch.float64)
    owners = torch.repeat_interleave(torch.arange(plan.target_rows), plan.crow_indices.diff())
    sums.index_add_(0, owners, plan.values.abs().double())
    histogram: dict[str, int] = {}
    top = int(sizes.max()) if len(rows) else 0
    low = 1
    while low <= top:
        high = 2 * low - 1
        label = str(low) if low == high else f"{low}-{high}"
        histogram[label] = int(((sizes >= low) & (sizes <= high)).sum())
        low *= 2
    return {
        "size": quantiles(sizes),
        "histogram": histogram,
        "weight_l1": quantiles(sums[rows]),
        "residual": quantiles(plan.residual[rows][plan.residual[rows].isfinite()]),
    }


def _norms(plan: TransferPlan, before: Tensor, after: Tensor) -> dict[str, Any]:
    """Norms of rows before and after; ratio is the mean of the regressed rows over that of the anchors."""
    anchors = _moments(before[np.unique(plan.copies()[1].numpy())])
    regressed = _moments(after[plan.rows(Provenance.REGRESSED)])
    ratio = regressed["mean"] / anchors["mean"] if regressed and anchors and anchors["mean"] > 0 else None
    return {
        "source_all": _moments(before),
        "source_anchors": anchors,
        "new_all": _moments(after),
        "regressed": regressed,
        "sampled": _moments(after[plan.rows(Provenance.SAMPLED)]),
        "ratio": ratio,
    }


def _moments(norms: Tensor) -> dict[str, float] | None:
    if not len(norms):
        return None
    return {"mean": float(norms.mean()), "std": float(norms.std(correction=0))}


def quantiles(numbers: Tensor | npt.NDArray[np.float64]) -> dict[str, float] | None:
    """Least, 5 %, median, 95 % and largest; None of nothing."""
    values = torch.as_tensor(numbers).double().numpy()
    if not len(values):
        return None
    return dict(zip(_QUANTILES, np.quantile(values, list(_QUANTILES.values())).tolist(), strict=True))
