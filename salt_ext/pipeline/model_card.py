"""README.md of a moved model, which the hub shows: inputs by hub names and hashes, never by a path of this machine."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from huggingface_hub import ModelCardData
from huggingface_hub.repocard import metadata_load

from salt_ext.checkpoint.companions import belongs
from salt_ext.checkpoint.hub import hub_name
from salt_ext.checkpoint.names import CARD_FILE, PLAN_FILE, REPORT_FILE, kept_readme
from salt_ext.pair.tokenizer_alone import TokenizerAlone
from salt_ext.plan import Provenance

if TYPE_CHECKING:
    from salt_ext.pair.pair import Pair
    from salt_ext.pipeline.options import TransferOptions

_TAGS = ["salt-ext", "vocabulary-transfer", "language-adaptation"]
# What the source's card says that is as true of the moved model.
_INHERITED = ("license", "license_name", "license_link", "pipeline_tag")
# A card is prose: what is longer is something else.
_LONGEST_CARD = 1 << 20
_LONGEST_NAME = 200
_MADE = {
    Provenance.COPIED: "the source's own rows, bit for bit: tokens that both vocabularies have",
    Provenance.REGRESSED: "computed by the method from rows of the source",
    Provenance.AVERAGED: "the mean of the source's rows",
    Provenance.SAMPLED: "drawn at random around the mean of the source's rows",
    Provenance.PADDING: "padding, which no token uses",
}
_SALT = """@inproceedings{lee-etal-2025-semantic-aware,
    title = {Semantic Aware Linear Transfer by Recycling Pre-trained Language Models for Cross-lingual Transfer},
    author = {Lee, Seungyoon and Hong, Seongtae and Moon, Hyeonseok and Lim, Heuiseok},
    booktitle = {Findings of the Association for Computational Linguistics: ACL 2025},
    pages = {16180--16193},
    year = {2025},
    doi = {10.18653/v1/2025.findings-acl.832}
}"""


def model_card(
    pair: Pair, names: tuple[str | Path, str | Path], options: TransferOptions, report: Mapping[str, Any]
) -> str:
    """The card, front matter and text.

    Args:
        pair: the models; licence and language are taken from their own cards, where they have any.
        names: source and donor as the user named them.
        options: how the model was moved.
        report: what salt_report.json holds.
    """
    source_name, donor_name = (hub_name(name) for name in names)
    of_source = _front_matter(pair.source.path)
    of_donor = _front_matter(pair.donor.path)
    inherited = {name: value for name in _INHERITED if isinstance(value := of_source.get(name), str)}
    facts: dict[str, Any] = {"base_model": source_name, "language": _languages(of_donor), **inherited}
    data = ModelCardData(library_name="transformers", tags=_TAGS, **facts)
    title = f"{source_name or 'A language model'} with the tokenizer of {donor_name or 'another language'}"
    return f"---\n{data.to_yaml()}\n---\n\n{_text(title, pair, (source_name, donor_name), options, report)}"


def _text(
    title: str,
    pair: Pair,
    names: tuple[str | None, str | None],
    options: TransferOptions,
    report: Mapping[str, Any],
) -> str:
    rows, method = report["rows"], report["method"]
    shown = [(kind, rows[kind.name.lower()]) for kind in Provenance if rows[kind.name.lower()]]
    table = "\n".join(f"| {kind.name.lower()} | {count:,} | {_MADE[kind]} |" for kind, count in shown)
    given = "".join(f", {name}={_value(value)}" for name, value in options.method_options.items())
    own = "".join(
        f"The source's own `{file.name}` is kept as `{kept_readme(file.name)}`. "
        for file in pair.source.checkpoint.companions().readmes
    )
    tokenizer, alone = report["tokenizer"], isinstance(pair.donor, TokenizerAlone)
    choice = report["choice"]
    made = f"{method['name']}`{given}" if choice is None else f"{choice['method']}`"
    why = "" if choice is None else f" Chosen by `auto`: {choice['why']}."
    return f"""# {title}

salt-ext {version("salt-ext")} gave the source model another vocabulary and computed every row of its embedding tables.
All other weights are the source's.

**It needs continued pre-training.** A moved model is a start: it reads and writes its new tokens, and is good in the
new language only after training on text of it.

| rows | count | |
|---|---:|---|
{table}

- Source: {_input(names[0], report["inputs"]["source"])}
- Donor{" (a tokenizer alone)" if alone else ""}: {_input(names[1], report["inputs"]["donor"])}
- Method: `{made} ({method["paper"]}).{why}
- Tokenizer: {tokenizer["kind"]}, {tokenizer["ids"]:,} ids, of which {len(tokenizer["added"])} were added for special
  tokens of the source.

`{PLAN_FILE}` holds the weights of every new row over the source's rows, which `salt-ext explain` shows;
`{REPORT_FILE}` has options, hashes of all inputs, counts, norms and what was checked. {own}The licence and the limits
of the source hold for this model too.

## Citation

```
{_SALT}
```
"""


def _input(name: str | None, facts: Mapping[str, Any]) -> str:
    """A hub name, else hashes by which the same files are known again."""
    if name is not None:
        return f"`{name}`"
    hashes = ", ".join(f"`{file}` {digest[:16]}" for file, digest in facts["sha256"].items())
    return f"local files, SHA-256 (first 16 digits) of {hashes}"


def _value(value: object) -> str:
    """An option's value; of a file its name alone."""
    return Path(value).name if isinstance(value, Path) or "/" in str(value) else str(value)  # type: ignore[arg-type]


def _languages(front: Mapping[str, Any]) -> list[str] | None:
    given = front.get("language")
    found = [given] if isinstance(given, str) else given
    if not isinstance(found, list) or not all(isinstance(name, str) for name in found):
        return None
    return found or None


def _front_matter(place: Path) -> dict[str, Any]:
    """What a model's own card states; nothing where there is no card that can be read: none of it is needed."""
    card = place / CARD_FILE
    try:
        if not belongs(card, place) or card.stat().st_size > _LONGEST_CARD:
            return {}
        found: dict[str, Any] = metadata_load(card) or {}
    except Exception:  # a stranger's file: missing, a folder, no text, no YAML
        return {}
    return {name: value[:_LONGEST_NAME] if isinstance(value, str) else value for name, value in found.items()}
