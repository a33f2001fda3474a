"""Tokens that no text aligned, from those like them: their extensions, and the longest ones that they contain.

A token without translations gets those of every translated token that begins with it, and of the longest translated
tokens inside it: those that no longer one of them contains. Tokens are compared by the bytes that they write, the space
that begins a word included. One pass looks at translated tokens only, so that the order of the ids changes nothing (the
authors' program goes on with what it has just smoothed), and all translated tokens stand in one sorted list that is
walked as a trie: a token costs its length times a look-up, not a scan of the vocabulary.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence


class Trie:
    """Byte strings, found by what they begin with or by what begins with them.

    Args:
        keys: the strings, in any order; equal ones count once.
    """

    def __init__(self, keys: Iterable[bytes]) -> None:
        self.keys = sorted(set(keys))
        # Sorted, a string stands behind all its beginnings: the nearest of them is its parent.
        self._parents: list[int] = []
        path: list[int] = []
        for place, key in enumerate(self.keys):
            while path and not key.startswith(self.keys[path[-1]]):
                path.pop()
            self._parents.append(path[-1] if path else -1)
            path.append(place)

    def extensions(self, text: bytes) -> Sequence[bytes]:
        """The keys that begin with `text`, sorted; it itself too if it is one."""
        begin = bisect_left(self.keys, text)
        # A run of 0xFF at the end has no next string of its length: shorten it.
        bare = text.rstrip(b"\xff")
        end = bisect_left(self.keys, bare[:-1] + bytes([bare[-1] + 1]), begin) if bare else len(self.keys)
        return self.keys[begin:end]

    def longest_prefix(self, text: bytes) -> bytes | None:
        """The longest key that `text` begins with."""
        place = bisect_right(self.keys, text) - 1
        while place >= 0 and not text.startswith(self.keys[place]):
            place = self._parents[place]
        return self.keys[place] if place >= 0 else None

    def longest_inside(self, text: bytes) -> list[bytes]:
        """The keys that occur in `text` and in no longer key that does, by their first place in it."""
        found = {key for begin in range(len(text)) if (key := self.longest_prefix(text[begin:]))}
        kept: list[bytes] = []
        for key in sorted(found, key=len, reverse=True):
            if not any(key in longer for longer in kept):
                kept.append(key)
        return sorted(kept, key=text.index)


def similar_tokens(unmapped: Mapping[int, bytes], mapped: Mapping[int, bytes]) -> dict[int, list[int]]:
    """For every unmapped token the mapped ones that stand in for it: extensions, then the longest inside it.

    Bytes that cut a character say nothing of a text: they stand in for no token that is whole text, and nothing does
    for them.

    Args:
        unmapped: id -> the bytes that the token writes.
        mapped: the same of the tokens that have translations.

    Returns:
        id -> ids, without the tokens that have none.
    """
    ids: dict[bytes, list[int]] = {}
    for number, written in mapped.items():
        if _is_text(written):
            ids.setdefault(written, []).append(number)
    trie = Trie(ids)
    found = {}
    for number, written in unmapped.items():
        if _is_text(written):
            keys = [*trie.extensions(written), *trie.longest_inside(written)]
            # A token of the same bytes, by another spelling, is both.
            if like := [other for key in dict.fromkeys(keys) for other in ids[key]]:
                found[number] = like
    return found


def _is_text(written: bytes) -> bool:
    try:
        return bool(written.decode("utf-8"))
    except UnicodeDecodeError:
        return False
