"""The methods of a comparison, as the user writes them: names, each with its options.

    salt,salt:ridge=0.1;temperature=0.5,focus

Commas part the methods, a colon begins a method's options, semicolons part these. What was written is the method's name
in every table. The two controls always take part.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from salt_ext.errors import InputError
from salt_ext.methods import Method, MethodInputs, assemble_plan, make_method
from salt_ext.plan import TransferPlan

# What knows nothing of a token: where a method does no better than these, it has found nothing.
CONTROLS = ("mean", "random")


@dataclass(frozen=True)
class MethodSpec:
    """A method to compare.

    Attributes:
        label: as it was written.
        method: with its options.
    """

    label: str
    method: Method

    @classmethod
    def of(cls, label: str) -> MethodSpec:
        """The method of an item, "name" or "name:option=value;option=value".

        Raises:
            InputError: it is not of this form, or the method or the option does not exist.
        """
        name, colon, written = label.partition(":")
        options: dict[str, str] = {}
        for pair in written.split(";") if colon else ():
            option, equals, value = (part.strip() for part in pair.partition("="))
            if not option or not equals:
                raise InputError(f"method {label!r}: {pair!r} is no option, expected NAME:OPTION=VALUE;OPTION=VALUE")
            if option in options:
                raise InputError(f"method {label!r}: option {option} is given twice")
            options[option] = value
        return cls(label, make_method(name.strip(), options))

    def plan(self, material: MethodInputs, *, rows: int) -> tuple[TransferPlan, tuple[str, ...]]:
        """The plan of all rows, and the method's warnings.

        Args:
            material: what the method is given.
            rows: of the plan.

        Raises:
            InputError: the material does not suffice; the sentence begins with the method.
        """
        try:
            combined = self.method.combine(material)
            plan = assemble_plan(
                combined,
                material.anchors,
                material.target,
                rows=rows,
                source_rows=material.source.size,
                seed=material.seed,
                metadata={"method": self.label},
            )
        except InputError as error:
            raise InputError(f"method {self.label}: {error}") from error
        return plan, combined.warnings


def parse_methods(wanted: str | Sequence[str]) -> list[MethodSpec]:
    """The methods in the order given, with those controls behind them that were not named.

    Args:
        wanted: "a,b:option=value;option=value", or a list of such items.

    Raises:
        InputError: nothing is named, a method comes twice, an item is not of this form, or the method or the option
            does not exist.
    """
    items = wanted.split(",") if isinstance(wanted, str) else wanted
    labels = [item.strip() for item in items]
    if not any(labels):
        raise InputError(f"methods is {wanted!r}, expected at least one, such as salt,salt:ridge=0.1,focus")
    labels += [name for name in CONTROLS if name not in labels]
    if twice := next((label for label in labels if labels.count(label) > 1), None):
        raise InputError(f"methods names {twice!r} twice")
    return [MethodSpec.of(label) for label in labels]
