"""What a method needs of a donor, and what is said where it is not there."""

from __future__ import annotations

from salt_ext.errors import InputError
from salt_ext.methods.core.inputs import Method
from salt_ext.methods.core.registry import method_class, method_names

DONOR_TABLE, AUXILIARY = "donor table", "auxiliary vectors"
_ARTICLES = {DONOR_TABLE: "a donor table", AUXILIARY: AUXILIARY}


def needs_of(method: Method) -> tuple[str, ...]:
    """What a method uses with the options that it has; `MethodInfo.needs` speaks of the published ones."""
    needed: tuple[str, ...] = getattr(method, "needed", method.info.needs)
    return needed


def check_needs(method: Method, lack: str | None) -> None:
    """Checks that a method can do without a donor's table and without auxiliary vectors.

    Args:
        method: with its options.
        lack: why there is neither, see `TokenizerAlone.lack`; None where there is one of them, since vectors stand in
            for a table, and a table for vectors.

    Raises:
        InputError: it cannot; the sentence names the methods that can.
    """
    if lack is None:
        return
    for need in needs_of(method):
        if need in _ARTICLES:
            raise InputError(f"donor: method {method.info.name} needs {_ARTICLES[need]}, and {lack}: {advice()}")


def advice() -> str:
    """What to do without a donor's table and auxiliary vectors."""
    free, others = [], []
    for name in method_names():
        try:
            needs = method_class(name).info.needs
        except InputError:  # another package's, which cannot be imported
            continue
        if not needs:
            free.append(name)
        elif not set(needs) & _ARTICLES.keys():
            others.append(f"{name} with {', '.join(need.partition(':')[0] for need in needs)}")
    return (
        "give a model, or word vectors as --aux fasttext:FILE or vectors:FILE, or choose a method that needs neither: "
        f"{', '.join([*free, *others])}"
    )
