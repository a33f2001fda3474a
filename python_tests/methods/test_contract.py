"""check_method: the built-in methods hold to their contract, and every broken one is found by its own sentence."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pytest

from salt_ext.methods import Combinations, MethodInfo, MethodInputs, check_method, method_class, method_names
from salt_ext.methods.tokalign import TokAlign

FILES = {"wechsel", "trans-tokenization", "tokalign", "plan"}


@pytest.mark.parametrize("name", sorted(set(method_names()) - FILES))
def test_built_in_methods(name):
    check_method(method_class(name))


def test_a_method_with_a_file(tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("an en ter lo mi sa ka über ung zei wor th ing oo an ter\n" * 40)
    check_method(TokAlign(text=text))


INFO = MethodInfo("mine", "the first anchor's row", "none", "new")


@dataclass(frozen=True)
class Mine:
    """Every new token has the first anchor's row."""

    info: ClassVar[MethodInfo] = INFO

    def combine(self, material: MethodInputs) -> Combinations:
        new = material.new
        sources = np.zeros(len(new), dtype=np.int64)
        return Combinations(new, np.ones_like(new), sources, np.ones(len(new), dtype=np.float32))


def test_a_right_method():
    check_method(Mine)
    check_method(Mine())


def broken(**changes: Any) -> type:
    """`Mine` with other combinations: each a value, or a function of what is right and of the inputs."""

    @dataclass(frozen=True)
    class Broken(Mine):
        def combine(self, material: MethodInputs) -> Combinations:
            right = super().combine(material)
            return replace(right, **{name: change(right, material) for name, change in changes.items()})

    return Broken


WRONG = {
    "which are neither new tokens nor anchors": {"target_ids": lambda made, given: made.target_ids * 0},
    "a source id lies outside": {"source_ids": lambda made, given: made.source_ids + given.source.size},
    "values does not have the": {"values": lambda made, given: made.values[1:]},
    "values is not float32": {"values": lambda made, given: made.values.astype(np.float64)},
    "values holds NaN": {"values": lambda made, given: made.values * np.float32("nan")},
    "target_ids is int32, expected int64": {"target_ids": lambda made, given: made.target_ids.astype(np.int32)},
    "does not give the same twice": {"values": lambda made, given: np.random.rand(len(made.values)).astype(np.float32)},
    "makes a token twice": {"target_ids": lambda made, given: np.repeat(made.target_ids[:1], len(made.target_ids))},
}


@pytest.mark.parametrize("sentence", WRONG)
def test_wrong_combinations(sentence):
    with pytest.raises(AssertionError, match=sentence):
        check_method(broken(**WRONG[sentence]))


def test_wrong_behaviour():
    @dataclass(frozen=True)
    class Spoils(Mine):
        def combine(self, material):
            material.source_table[0] += 1
            return super().combine(material)

    @dataclass(frozen=True)
    class Greedy(Mine):
        def combine(self, material):
            _ = material.donor
            return super().combine(material)

    @dataclass(frozen=True)
    class Fragile(Mine):
        def combine(self, material):
            return replace(super().combine(material), facts={"first": int(material.anchors.target_ids[0])})

    @dataclass
    class Plain:
        info: ClassVar[MethodInfo] = INFO
        combine = Mine.combine

    @dataclass(frozen=True)
    class Asks(Mine):
        size: int

    wrong = {
        "changes a table": Spoils,
        "names neither a donor table nor auxiliary vectors": Greedy,
        "with no anchor raises IndexError, not InputError": Fragile,
        "Plain is not a frozen dataclass": Plain,
        "info.name is 'My Method'": type("Named", (Mine,), {"info": replace(INFO, name="My Method")}),
        "info is None, expected a MethodInfo": type("Silent", (Mine,), {"info": None}),
    }
    for sentence, method in wrong.items():
        with pytest.raises(AssertionError, match=sentence):
            check_method(method)
    with pytest.raises(AssertionError, match="option size has no default"):
        check_method(Asks(3))
