"""The method: what it refuses; the rows themselves are tested in python_tests/alignment."""

from __future__ import annotations

import pytest

from salt_ext.errors import InputError
from salt_ext.methods import make_method


def test_without_an_alignment_it_says_how_to_make_one():
    with pytest.raises(InputError, match=r"needs an alignment .* salt-ext align and pass it as --alignment FILE"):
        make_method("trans-tokenization")


def test_the_alignment_is_looked_for_before_any_work(tmp_path):
    with pytest.raises(InputError, match=r"alignment .*absent.tsv: no such file"):
        make_method("trans-tokenization", {"alignment": str(tmp_path / "absent.tsv")})
    (tmp_path / "empty.tsv").touch()
    with pytest.raises(InputError, match="is empty"):
        make_method("trans-tokenization", {"alignment": tmp_path / "empty.tsv"})
