"""How methods are written."""

from __future__ import annotations

import pytest

from salt_ext.comparison.method_spec import parse_methods
from salt_ext.errors import InputError
from salt_ext.methods.controls.mean import Mean
from salt_ext.methods.controls.random import Random
from salt_ext.methods.focus import Focus
from salt_ext.methods.salt.salt import Salt


def test_options_and_controls():
    chosen = parse_methods("salt, salt:ridge=0.1;temperature=0.5 ,focus")
    assert [(one.label, one.method) for one in chosen] == [
        ("salt", Salt()),
        ("salt:ridge=0.1;temperature=0.5", Salt(ridge=0.1, temperature=0.5)),
        ("focus", Focus()),
        ("mean", Mean()),
        ("random", Random()),
    ]


def test_a_list_may_hold_what_a_comma_would_part():
    assert [one.label for one in parse_methods(["focus", "random"])] == ["focus", "random", "mean"]


@pytest.mark.parametrize(
    ("methods", "message"),
    [
        ("", "expected at least one"),
        ([], "expected at least one"),
        ("focsu", "did you mean focus"),
        ("salt,,focus", "expected one of"),
        ("salt,focus,salt", "names 'salt' twice"),
        ("salt:ridge", "'ridge' is no option, expected NAME:OPTION=VALUE"),
        ("salt:", "'' is no option"),
        ("salt:=3", "'=3' is no option"),
        ("salt:ridge=1;ridge=2", "ridge is given twice"),
        ("salt:rigde=1", "no option 'rigde'"),
        ("salt:ridge=much", "ridge is 'much', expected float"),
        ("salt:ridge=-1", "ridge is -1.0, expected a finite number of at least 0"),
        ("mean:x=1", "no option 'x'"),
    ],
)
def test_bad_methods(methods, message):
    with pytest.raises(InputError, match=message):
        parse_methods(methods)
