"""Methods by name: the built-in ones, and those that other packages bring as entry points."""

from __future__ import annotations

import importlib
import types
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields
from difflib import get_close_matches
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from salt_ext.errors import InputError, brief
from salt_ext.methods.core.inputs import Method

GROUP = "salt_ext.methods"
_BUILT_IN = {
    "salt": "salt.salt:Salt",
    "salt-plus": "salt.salt_plus:SaltPlus",
    "focus": "focus:Focus",
    "ofa": "ofa:Ofa",
    "wechsel": "wechsel:Wechsel",
    "clp": "clp:Clp",
    "omp": "omp:Omp",
    "interpolate": "interpolate:Interpolate",
    "subword": "subword:Subword",
    "transplant-vocab": "transplant_vocab:TransplantVocab",
    "token-adapt": "token_adapt:TokenAdapt",
    "tokalign": "tokalign:TokAlign",
    "trans-tokenization": "trans_tokenization:TransTokenization",
    "global": "global_map:GlobalMap",
    "plan": "recorded:Recorded",
    "mean": "controls.mean:Mean",
    "gaussian": "controls.gaussian:Gaussian",
    "random": "controls.random:Random",
}
_WORDS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


def method_names() -> list[str]:
    """Every method's name: the built-in ones in the order of the documentation, then those of other packages."""
    others = sorted({point.name for point in entry_points(group=GROUP)} - _BUILT_IN.keys())
    return [*_BUILT_IN, *others]


def method_class(name: str) -> type[Method]:
    """A method's class, imported when it is asked for.

    Raises:
        InputError: there is none of this name, or another package's cannot be imported.
    """
    if name in _BUILT_IN:
        module, _, attribute = _BUILT_IN[name].partition(":")
        found: type[Method] = getattr(importlib.import_module(f"salt_ext.methods.{module}"), attribute)
        return found
    for point in entry_points(group=GROUP):
        if point.name == name:
            try:
                loaded: type[Method] = point.load()
            except Exception as error:  # code of another package: it may fail in any way
                raise InputError(f"method {name!r} of {point.value} cannot be imported: {brief(error)}") from error
            return loaded
    near = get_close_matches(name, method_names(), n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    raise InputError(f"method is {name!r}, expected one of {', '.join(method_names())}{hint}")


def make_method(name: str, options: Mapping[str, Any] | None = None) -> Method:
    """A method with options; those not given have their defaults.

    Args:
        name: of the method.
        options: its options by name. A string is read as the option's type, as the command line gives them.

    Raises:
        InputError: no such method, no such option, one that has to be given is not, or a value that is none.
    """
    made = method_class(name)
    hints = get_type_hints(made)
    options_of = fields(made)  # type: ignore[arg-type]
    known = [option.name for option in options_of]
    given = {}
    for option, value in (options or {}).items():
        if option not in known:
            has = f"it has {', '.join(known)}" if known else "it has none"
            raise InputError(f"method {name} has no option {option!r}: {has}")
        given[option] = _read(value, hints[option], option) if isinstance(value, str) else value
    if missing := [option.name for option in options_of if is_required(option) and option.name not in given]:
        needs = "; ".join(made.info.needs)
        raise InputError(f"method {name} has no {missing[0]}: pass --set {missing[0]}=VALUE; it needs {needs}")
    return made(**given)


def is_required(option: Field[Any]) -> bool:
    """Whether an option has no default."""
    return option.default is MISSING and option.default_factory is MISSING


def _read(text: str, wanted: Any, option: str) -> Any:
    """A value of the wanted type from its text."""
    kinds = get_args(wanted) if get_origin(wanted) in (Union, types.UnionType) else (wanted,)
    if type(None) in kinds and text.lower() == "none":
        return None
    for kind in kinds:
        if get_origin(kind) is Literal and text in get_args(kind):
            return text
        if kind is bool and text.lower() in _WORDS:
            return _WORDS[text.lower()]
        if kind in (str, Path):
            return kind(text)
        if kind in (int, float):
            try:
                return kind(text)
            except ValueError:
                continue
    names = ", ".join(name for kind in kinds for name in _names(kind))
    raise InputError(f"option {option} is {text!r}, expected {names}")


def _names(kind: Any) -> list[str]:
    """What a message calls the values of a type."""
    if get_origin(kind) is Literal:
        return [str(word) for word in get_args(kind)]
    return ["none"] if kind is type(None) else [kind.__name__]
