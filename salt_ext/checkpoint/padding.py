"""Rows of a table beyond its tokens: how many the source has, and how many the new one gets."""

from __future__ import annotations

from salt_ext.errors import InputError

# Larger powers of two say nothing about padding any more: a table of 32,768 rows was hardly padded to 32,768.
_MOST = 1024


def padding_multiple(tokens: int, rows: int) -> int:
    """The multiple that the source's rows were padded to.

    Tables are padded for the matrix units and for splitting over devices, and always to a power of two. The one that
    was used is not on record; the largest that divides the rows gives a new table every alignment that the old had. A
    table without padding rows was not padded, even if its size is round.

    Args:
        tokens: tokens of the source's vocabulary.
        rows: rows of its input table.

    Returns:
        A power of two, at most 1024; 1 where no row is beyond the tokens.
    """
    if rows <= tokens:
        return 1
    return min(rows & -rows, _MOST)


def padded_rows(tokens: int, multiple: int) -> int:
    """The rows of a table for `tokens` tokens: the least multiple of `multiple` that holds them.

    Raises:
        InputError: `multiple` is not positive.
    """
    if multiple < 1:
        raise InputError(f"pad-to-multiple-of is {multiple}; a positive number was expected")
    return -(-tokens // multiple) * multiple
