"""JSON from anywhere, and JSON that is written: readable, and possible for every string that JSON can hold."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

# Of configurations three levels are usual; Python's own functions end at some hundreds, each at another number.
_DEEPEST = 64


def read_json(raw: bytes | str, *, object_pairs_hook: Callable[[list[tuple[str, Any]]], Any] | None = None) -> Any:
    """A JSON value that everything here can be done with.

    Args:
        raw: the text.
        object_pairs_hook: makes an object of its entries, as for `json.loads`.

    Raises:
        ValueError: it is not JSON, is nested too deep, or holds a number of more digits than Python reads.
    """
    try:
        value = json.loads(raw, object_pairs_hook=object_pairs_hook)
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    except ValueError as error:
        if type(error) is not ValueError or "digits" not in str(error):
            raise
        raise ValueError("it holds a number of thousands of digits") from None  # Python's is about its own settings
    level = [value]
    for _ in range(_DEEPEST):
        level = [inner for part in level for inner in _inside(part) if isinstance(inner, (dict, list))]
        if not level:
            return value
    raise ValueError(_TOO_DEEP)


_TOO_DEEP = f"it is nested more than {_DEEPEST} levels deep"


def _inside(part: Any) -> Any:
    return part.values() if isinstance(part, dict) else part if isinstance(part, list) else ()


def json_text(value: Any, *, strict: bool = False) -> str:
    """A value as JSON of several lines, encodable as UTF-8.

    Half a surrogate pair, which JSON can spell and UTF-8 cannot, is written as an escape: the reader gets back what
    was read.

    Args:
        value: of dictionaries, lists, strings, numbers, booleans and None.
        strict: whether NaN and infinities, which Python writes and JSON does not know, are refused.

    Raises:
        ValueError: a number is not finite, and `strict`.
    """
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=not strict) + "\n"
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return json.dumps(value, indent=2, allow_nan=not strict) + "\n"
    return text
