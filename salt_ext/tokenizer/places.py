"""Two tokens of a tokenizer in each other's place, for a model that counts positions from one token's id."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tokenizers import Tokenizer

from salt_ext.errors import InputError
from salt_ext.vocab import Vocabulary


def with_pad_in_place(
    backend: Tokenizer, partners: Mapping[int, str], place: int | None, *, name: str
) -> tuple[Tokenizer, tuple[int, int] | None]:
    """A tokenizer whose padding token has the id that positions are counted from, and the two ids that changed places.

    Args:
        backend: the tokenizer, which is not changed.
        partners: source id -> the spelling of its partner.
        place: the source's padding token, see `counted_pad`; None changes nothing.
        name: what to call the tokenizer in an error.

    Raises:
        InputError: no token has that id.
    """
    if place is None or place not in partners or (here := backend.token_to_id(partners[place])) in (None, place):
        return backend, None
    if backend.id_to_token(place) is None:
        raise InputError(
            f"source: it counts positions from its padding token's id, {place}, where the tokenizer of {name} has no "
            "token to change places with; choose another donor"
        )
    return swapped_ids(backend, here, place), (min(here, place), max(here, place))


def swap_warning(vocabulary: Vocabulary, swapped: tuple[int, int], place: int | None) -> str:
    """What to say of two ids that changed places, one of which is the padding token's now."""
    first, second = swapped
    pad, other = (first, second) if first == place else (second, first)
    return (
        f"the padding token {vocabulary.tokens[pad]!r} has the id {pad}, since the source counts positions from it; "
        f"{vocabulary.tokens[other]!r} has the id {other} instead"
    )


def swapped_ids(backend: Tokenizer, first: int, second: int) -> Tokenizer:
    """The same tokenizer with the tokens of two ids in each other's place; what it cuts a text into stays the same.

    The ids in its post-processor stay as they are: make that anew.

    Args:
        backend: the tokenizer; both ids are those of tokens.
        first: an id.
        second: another.
    """
    definition = json.loads(backend.to_str())
    model, added = definition["model"], definition["added_tokens"]
    places = {first: second, second: first}
    if isinstance(model["vocab"], dict):
        # The library numbers added tokens that the model lacks by itself; as entries of the model they keep their ids.
        vocab = model["vocab"] | {token["content"]: token["id"] for token in added}
        model["vocab"] = {token: places.get(number, number) for token, number in vocab.items()}
    else:
        _swap_pieces(model, added, first, second)
    for token in added:
        token["id"] = places.get(token["id"], token["id"])
    definition["added_tokens"] = sorted(added, key=lambda token: int(token["id"]))
    return Tokenizer.from_str(json.dumps(definition))


def _swap_pieces(model: dict[str, Any], added: list[dict[str, Any]], first: int, second: int) -> None:
    """Of Unigram, whose pieces are a list with scores."""
    pieces = model["vocab"]
    known = {piece for piece, _ in pieces}
    # The lowest score there is: a lower one would change what unknown text costs.
    lowest = min(score for _, score in pieces)
    pieces += [[token["content"], lowest] for token in added if token["content"] not in known]
    pieces[first], pieces[second] = pieces[second], pieces[first]
    if model["unk_id"] in (first, second):
        model["unk_id"] = first + second - model["unk_id"]
