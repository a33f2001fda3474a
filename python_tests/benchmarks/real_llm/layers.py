"""How far a moved model's hidden states are from the source's own, layer by layer: what a start does to the body.

    python layers.py SOURCE DONOR --text FILE... [--methods "salt-plus,..."] -o layers.csv

The source reads every line by its own tokenizer, the moved model by the new one. Where both have a token that ends at
the same character, the two states of a layer are compared: ||h - h'|| / ||h||, the median over the places that end in a
copied token and over those that end in a new one. Layer 0 is the embedding, of the source that of its last piece. Then
the head: the probability that the model gives to new tokens in all, beside their share of the tokens that follow.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
from pathlib import Path

import numpy as np
import torch
import transformers

import salt_ext
from salt_ext.comparison.method_spec import MethodSpec
from salt_ext.files.text_lines import read_lines
from salt_ext.plan import Provenance

METHODS = "salt-plus,subword,global:intercept=true,focus,salt,mean"


def run(model: transformers.PreTrainedModel, ids: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
    """Hidden states, float32 [layers + 1, tokens, hidden], and probabilities, float32 [tokens, vocabulary]."""
    with torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16):
        found = model(torch.tensor([ids]), output_hidden_states=True, use_cache=False)
    states = torch.stack([layer[0].float() for layer in found.hidden_states])
    return states, found.logits[0].float().softmax(dim=1)


def encoded(tokenizer: transformers.PreTrainedTokenizerBase, line: str) -> tuple[list[int], dict[int, int]]:
    """Ids of a line, and by the character that a token ends at its place, the last one's where several end there."""
    made = tokenizer(line, add_special_tokens=False, return_offsets_mapping=True)
    return made["input_ids"], {end: place for place, (_, end) in enumerate(made["offset_mapping"])}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path)
    parser.add_argument("donor", type=Path)
    parser.add_argument("--text", type=Path, nargs="+", required=True)
    parser.add_argument("--lines", type=int, default=20, help="of each text")
    parser.add_argument("--methods", default=METHODS)
    parser.add_argument("--arm", required=True)
    parser.add_argument("-o", "--output", type=Path, required=True)
    chosen = parser.parse_args()
    lines = [line for text in chosen.text for line in read_lines(text, max_bytes=1 << 20)[: chosen.lines]]
    old_tokenizer = transformers.AutoTokenizer.from_pretrained(chosen.source)
    source = transformers.AutoModelForCausalLM.from_pretrained(chosen.source, dtype=torch.float32)
    own = [encoded(old_tokenizer, line) for line in lines]
    before = [run(source, ids)[0] for ids, _ in own]
    del source
    there = chosen.output.exists()
    with chosen.output.open("a", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        if not there:
            writer.writerow(["arm", "method", "places_end_in", "layer", "figure"])
        for method in chosen.methods.split(","):
            for row in measure(chosen, method, lines, own, before):
                writer.writerow([chosen.arm, method, *row])
                print(method, *row, flush=True)


def measure(
    chosen: argparse.Namespace,
    method: str,
    lines: list[str],
    own: list[tuple[list[int], dict[int, int]]],
    before: list[torch.Tensor],
) -> list[tuple[str, int | str, str]]:
    made_by = MethodSpec.of(method).method
    with tempfile.TemporaryDirectory() as folder:
        made = salt_ext.transfer(
            chosen.source,
            chosen.donor,
            Path(folder) / "out",
            method=made_by.info.name,
            method_options=vars(made_by),
            progress=False,
        )
        model = transformers.AutoModelForCausalLM.from_pretrained(made.output, dtype=torch.float32)
        tokenizer = transformers.AutoTokenizer.from_pretrained(made.output)
    errors: dict[str, list[torch.Tensor]] = {"copied": [], "new": []}
    mass, share = list[torch.Tensor](), list[torch.Tensor]()
    for line, (_, places), old in zip(lines, own, before, strict=True):
        ids, new_places = encoded(tokenizer, line)
        after, probability = run(model, ids)
        is_new = made.plan.provenance != Provenance.COPIED
        mass.append(probability[:-1, is_new].sum(dim=1))
        share.append(is_new[ids[1:]].float())
        for end in places.keys() & new_places.keys():
            was, now = old[:, places[end]], after[:, new_places[end]]
            copied = made.plan.provenance[ids[new_places[end]]] == Provenance.COPIED
            errors["copied" if copied else "new"].append((now - was).norm(dim=1) / was.norm(dim=1))
    found: list[tuple[str, int | str, str]] = [
        ("probability of new tokens", "head", f"{float(torch.cat(mass).mean()):.4f}"),
        ("share of new tokens", "head", f"{float(torch.cat(share).mean()):.4f}"),
    ]
    for kind, each in errors.items():
        medians = np.median(torch.stack(each).numpy(), axis=0)
        found += [(kind, layer, f"{value:.4f}") for layer, value in enumerate(medians)]
    return found


if __name__ == "__main__":
    main()
