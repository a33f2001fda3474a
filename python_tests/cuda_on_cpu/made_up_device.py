"""A made-up CUDA device: tensors that lie on the CPU, say that they lie on cuda:0, and refuse what CUDA refuses.

Tests that can only fail on a GPU fail on them too: a device forgotten, `.numpy()` without `.cpu()`, a product of whole
numbers, a generator of the other device. Kernels and operators get the CPU tensors inside. Autograd's engine and the
compiler ask the device itself, and find none: tests of these keep to the CPU.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._device import _device_constructors
from torch.utils._mode_utils import no_dispatch
from torch.utils._pytree import tree_flatten, tree_map_only, tree_unflatten

DEVICE = torch.device("cuda", 0)
_PRODUCTS = ("mm", "addmm", "bmm", "baddbmm", "mv", "addmv", "dot", "vdot")
# What may meet a tensor of the CPU.
_MAY_MIX = ("copy_", "_to_copy")
# The indexed tensor's own device, or indices of the CPU.
_INDEXING = ("index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index")


class MadeUp(Tensor):
    """A tensor of the device; `inner` is what it is in truth."""

    inner: Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, inner: Tensor) -> MadeUp:
        made: MadeUp = torch.Tensor._make_wrapper_subclass(
            cls, inner.shape, inner.stride(), inner.storage_offset(), dtype=inner.dtype, device=DEVICE
        )
        made.inner = inner
        return made

    def __repr__(self) -> str:
        return f"{self.inner!r} on {DEVICE}"

    def __format__(self, form: str) -> str:
        return format(self.inner.item() if self.inner.dim() == 0 else repr(self), form)

    def tolist(self) -> Any:
        """As torch's, which knows no subclasses."""
        return self.inner.detach().tolist()

    @classmethod
    def __torch_dispatch__(
        cls, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return _dispatch(func, args, kwargs or {})


class MadeUpCuda(TorchFunctionMode):
    """While it is on, new tensors are of the device, as under torch.set_default_device."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if func in _device_constructors():
            return self._construct(func, args, kwargs)
        if func is Tensor.cuda:
            func, args = Tensor.to, (args[0], DEVICE)
        if func is Tensor.to and not isinstance(args[0], MadeUp) and any(map(_is_ours, [*args[1:], *kwargs.values()])):
            rest = [value for value in args[1:] if not _is_ours(value)]
            kwargs = {name: value for name, value in kwargs.items() if not _is_ours(value)}
            return to_device(args[0].to(*rest, **kwargs) if rest or kwargs else args[0])
        if any(isinstance(value, MadeUp) for value in args):
            args, kwargs = _with_own_tensors(func, args, kwargs)
            if func is Tensor.to and len(args) == 1 and not kwargs:
                return args[0]
        return func(*args, **kwargs)

    @staticmethod
    def _construct(func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        device = kwargs.pop("device", None)
        if device is not None and not _is_ours(device):
            return func(*args, **kwargs, device=device)
        if kwargs.get("generator") is not None:
            raise RuntimeError("Expected a 'cuda' device type for generator but found 'cpu'")
        return to_device(func(*args, **kwargs))


def to_device(tensor: Tensor) -> Tensor:
    """A copy on the device, as `.to("cuda")` makes one; sparse tensors, which no kernel takes, stay as they are."""
    return MadeUp(tensor.detach().clone()) if tensor.layout == torch.strided else tensor


def _with_own_tensors(
    func: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments without our device, and tensors in place of what torch would make tensors of on its own."""
    args = tuple(value for value in args if not _is_ours(value))
    kwargs = {name: value for name, value in kwargs.items() if not _is_ours(value)}
    if func in (Tensor.__getitem__, Tensor.__setitem__):
        places = args[1] if isinstance(args[1], tuple) else (args[1],)
        places = tuple(torch.tensor(place, device="cpu") if isinstance(place, list) else place for place in places)
        args = (args[0], places, *args[2:])
    if func in (Tensor.__setitem__, Tensor.where, torch.where):
        (like, *_) = [value for value in args[:: -1 if func is torch.where else 1] if isinstance(value, Tensor)]
        args = tuple(
            torch.tensor(value, dtype=like.dtype, device="cpu") if isinstance(value, (int, float)) else value
            for value in args
        )
    return args, kwargs


def _is_ours(device: Any) -> bool:
    return isinstance(device, (str, torch.device)) and str(device).startswith("cuda")


def _dispatch(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    flat, spec = tree_flatten((args, kwargs))
    ours = [value for value in flat if isinstance(value, MadeUp)]
    others = [value for value in flat if isinstance(value, Tensor) and not isinstance(value, MadeUp)]
    _refuse(func, args, ours, others)
    if torch.Tag.inplace_view in func.tags:
        with no_dispatch():
            func(*args, **kwargs)
    args, kwargs = tree_unflatten([value.inner if isinstance(value, MadeUp) else value for value in flat], spec)
    back = kwargs.get("device") is not None and torch.device(kwargs["device"]).type == "cpu"
    if kwargs.get("device") is not None:
        kwargs["device"] = torch.device("cpu")
    found = func(*args, **kwargs)
    if back:
        return found
    known = {id(value.inner): value for value in ours}
    return tree_map_only(Tensor, lambda value: known[id(value)] if id(value) in known else MadeUp(value), found)


def _refuse(func: Any, args: tuple[Any, ...], ours: list[MadeUp], others: list[Tensor]) -> None:
    name = func.overloadpacket.__name__
    if name in _PRODUCTS and not ours[0].dtype.is_floating_point:
        raise RuntimeError(f'"{name}_cuda" not implemented for {ours[0].dtype}')
    if name in _INDEXING and isinstance(args[0], MadeUp):
        others = [value for value in others if any(value is given for given in args[2:])]
    if func.namespace == "salt":  # our kernels check for themselves, and refuse a tensor without memory by its name
        others = [value for value in others if not value.is_meta]
    if name not in _MAY_MIX and any(value.dim() > 0 for value in others):
        raise RuntimeError(f"{name}: Expected all tensors to be on the same device, but found cuda:0 and cpu")


@contextmanager
def made_up_cuda() -> Iterator[None]:
    """New tensors lie on the made-up device, unless another one is named."""
    before, torch.get_default_device = torch.get_default_device, lambda: DEVICE
    try:
        with MadeUpCuda():
            yield
    finally:
        torch.get_default_device = before
