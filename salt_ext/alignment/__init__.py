"""Alignment: which tokens of two tokenizers translate each other, from parallel text or from a lexicon."""

from __future__ import annotations

from salt_ext.alignment.corpus import Corpus, read_parallel
from salt_ext.alignment.counts import MIN_COUNT, TokenCounts, WordCounts, token_counts
from salt_ext.alignment.ibm1 import Translations, fit_ibm1
from salt_ext.alignment.lexicon import read_dictionary, read_probabilities
from salt_ext.alignment.pharaoh import read_pharaoh, write_units
from salt_ext.alignment.table import AlignmentTable, read_table, write_table
from salt_ext.alignment.units import UnitText, read_units

__all__ = [
    "MIN_COUNT",
    "AlignmentTable",
    "Corpus",
    "TokenCounts",
    "Translations",
    "UnitText",
    "WordCounts",
    "fit_ibm1",
    "read_dictionary",
    "read_parallel",
    "read_pharaoh",
    "read_probabilities",
    "read_table",
    "read_units",
    "token_counts",
    "write_table",
    "write_units",
]
