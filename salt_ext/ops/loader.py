"""Loads salt-ext's compiled libraries into torch: the version gate, the load order, and what is there or why not.

The order matters. torch comes first, so that its OpenMP runtime (the soname libgomp.so.1) is the one that ours resolves
to and the only one in the process; then the operators and their CPU kernels; then the CUDA kernels, where this torch
has CUDA. A CUDA library that is absent or cannot be loaded never breaks the import: the CPU operators still work.
"""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import re
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import torch

MINIMUM_TORCH = (2, 11)


@dataclass(frozen=True)
class Backend:
    """One place where the operators can run.

    Attributes:
        name: "cpu" or "cuda".
        available: Whether the operators take tensors of this device now.
        reason: Why not, in one sentence; empty where available.
        details: Facts such as the instruction set in use or the architectures compiled.
    """

    name: str
    available: bool
    reason: str
    details: dict[str, str] = field(default_factory=dict)


def check_torch_version(version: str) -> None:
    """Refuses a torch that lacks the stable ABI which the libraries are built on.

    Args:
        version: torch.__version__, e.g. "2.13.0+cpu".

    Raises:
        ImportError: The version is older than 2.11.
    """
    match = re.match(r"(\d+)\.(\d+)", version)
    if match is None or (int(match[1]), int(match[2])) < MINIMUM_TORCH:
        needed = ".".join(map(str, MINIMUM_TORCH))
        raise ImportError(f"salt-ext needs torch >= {needed} and found torch {version}; upgrade torch to use salt-ext")


def _borrow_compiled_files() -> None:
    """Lets a source tree that hides the installed package (Python started in a clone) use that package's binaries."""
    if importlib.util.find_spec("salt_ext._C") is None:
        with suppress(PackageNotFoundError):
            installed = distribution("salt-ext").locate_file("salt_ext")
            sys.modules["salt_ext"].__path__.append(str(installed))


def find_library(name: str) -> Path | None:
    """The compiled library `name`, looked for beside _C: a wheel and an editable install keep both in one folder."""
    extension = importlib.util.find_spec("salt_ext._C")
    if extension is None or extension.origin is None:
        return None
    path = Path(extension.origin).with_name(name)
    return path if path.is_file() else None


def _register(path: Path) -> None:
    load: Callable[[str], None] = torch.ops.load_library
    load(str(path))


def _load_operators() -> ctypes.CDLL:
    path = find_library("libsalt_ops.so")
    if path is None:
        raise ImportError(
            f"salt_ext in {Path(__file__).parents[1]} has no compiled library libsalt_ops.so: install it with pip first"
        )
    _register(path)
    library = ctypes.CDLL(str(path))
    library.salt_cpu_isa.restype = ctypes.c_char_p
    library.salt_set_cpu_isa.argtypes = [ctypes.c_char_p]
    return library


def _preload_cublas() -> None:
    """Maps cuBLAS from the pip packages beside torch, whose folder the dynamic linker does not know."""
    for path in sorted(Path(torch.__file__).parent.parent.glob("nvidia/cu*/lib/libcublas.so.*")):
        ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)


def load_cuda_library(path: Path | None) -> str:
    """Loads the CUDA kernels from `path` (None: not built) and returns why that failed, "" where it did not."""
    if torch.version.cuda is None:
        return f"torch {torch.__version__} is built without CUDA"
    if path is None:
        return f"salt-ext was built without its CUDA library: {build_info()['cuda_missing']}"
    try:
        try:
            _register(path)
        except OSError:
            _preload_cublas()
            _register(path)
    except (OSError, RuntimeError) as error:
        first_line = str(error).strip().splitlines()[0]
        return f"the CUDA library could not be loaded: {first_line}"
    return ""


def _cuda_versions() -> dict[str, str]:
    """CUDA that compiled the library and cuBLAS that it was loaded with, as "major.minor"."""
    parts = {name: (ctypes.c_int * 2)() for name in ("cuda", "cublas")}
    ctypes.CDLL(str(find_library("libsalt_cuda.so"))).salt_cuda_versions(*parts.values())
    return {name: f"{major}.{minor}" for name, (major, minor) in parts.items()}


def build_info() -> dict[str, str]:
    """Version, compiler, torch headers, instruction sets and CUDA architectures that the libraries were built with."""
    from salt_ext import _C

    return _C.build_info()


def cpu_isa() -> str:
    """The instruction set that CPU kernels use now: "portable", "avx2", "avx512" or "avx512_vnni"."""
    name: bytes = _operators.salt_cpu_isa()
    return name.decode()


def set_cpu_isa(name: str) -> None:
    """Makes CPU kernels use another instruction set that this CPU has; for tests and measurements.

    Raises:
        ValueError: This build or this CPU does not have it.
    """
    if _operators.salt_set_cpu_isa(name.encode()) != 0:
        raise ValueError(f"instruction set {name!r} is not available; compiled in: {build_info()['isa_variants']}")


def runnable_cpu_isas() -> list[str]:
    """The instruction sets that this build and this CPU have, narrowest first; for tests and measurements."""
    before, found = cpu_isa(), []
    for name in build_info()["isa_variants"].split():
        with suppress(ValueError):
            set_cpu_isa(name)
            found.append(name)
    set_cpu_isa(before)
    return found


def backends() -> dict[str, Backend]:
    """What the operators can run on in this process, and why not where they cannot.

    Returns:
        "cpu" and "cuda" with their state; asking for it makes torch look for a CUDA device.
    """
    from salt_ext import _C

    info = build_info()
    cpu = Backend(
        name="cpu",
        available=True,
        reason="",
        details={
            "isa": cpu_isa(),
            "isa_variants": info["isa_variants"],
            "cpu_features": " ".join(_C.cpu_features()),
            "threads": str(torch.get_num_threads()),
        },
    )
    reason = _cuda_failure
    details = {"architectures": info["cuda_architectures"]} if info["cuda_architectures"] else {}
    if not reason:
        details |= _cuda_versions()
        reason = "" if torch.cuda.is_available() else "torch sees no CUDA device"
    cuda = Backend(name="cuda", available=not reason, reason=reason, details=details)
    return {backend.name: backend for backend in (cpu, cuda)}


check_torch_version(torch.__version__)
_borrow_compiled_files()
_operators = _load_operators()
# Fake kernels need the schemas; whoever traces an operator needs the fake kernels, so they are registered right away.
importlib.import_module("salt_ext.ops.fakes")
_cuda_failure = load_cuda_library(find_library("libsalt_cuda.so"))
