"""What the compiled libraries need and offer, read from the files themselves."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from salt_ext.ops import loader as _loader
from salt_ext.ops.loader import find_library

# glibc, libm, libstdc++, libgcc_s and libgomp version every symbol they offer.
SYSTEM = re.compile(r"@{1,2}(GLIBC|GLIBCXX|CXXABI|GCC|GOMP|OMP|LIBC)_")
TORCH_SHIM = re.compile(r"^(aoti_torch_|torch_)\w+$")
# Optional hooks of the C runtime, weak in every shared library.
RUNTIME = re.compile(r"^(_ITM_\w+|__gmon_start__|__cxa_finalize.*)$")


def library(name: str) -> Path:
    path = find_library(name)
    if path is None:
        pytest.skip(f"{name} was not built")
    return path


def tool(name: str, *arguments: str) -> str:
    if shutil.which(name) is None:
        pytest.skip(f"{name} (binutils) is not installed")
    return subprocess.run([name, *arguments], capture_output=True, text=True, check=True).stdout


def undefined(path: Path) -> list[str]:
    return [line.split()[-1] for line in tool("nm", "-D", "--undefined-only", str(path)).splitlines()]


def dynamic(path: Path, tag: str) -> Iterator[str]:
    for line in tool("readelf", "-d", "-W", str(path)).splitlines():
        if f"({tag})" in line:
            yield line.split("[")[-1].rstrip("]")


def test_operators_need_only_torch_c_shim_and_system_libraries() -> None:
    names = undefined(library("libsalt_ops.so"))
    assert any(TORCH_SHIM.match(name) for name in names)
    strangers = [name for name in names if not (SYSTEM.search(name) or TORCH_SHIM.match(name) or RUNTIME.match(name))]
    assert strangers == []


def test_cuda_library_needs_besides_only_cublas() -> None:
    names = undefined(library("libsalt_cuda.so"))
    allowed = re.compile(r"^cublas\w+@libcublas\.so\.\d+$")
    strangers = [
        name
        for name in names
        if not (SYSTEM.search(name) or TORCH_SHIM.match(name) or RUNTIME.match(name) or allowed.match(name))
    ]
    assert strangers == []


def test_cuda_library_finds_torchs_streams_in_torchs_own_library() -> None:
    """The build links a stand-in of that name, since it may see a torch without CUDA."""
    assert "libtorch_cuda.so" in list(dynamic(library("libsalt_cuda.so"), "NEEDED"))


def test_every_operator_has_a_cuda_kernel() -> None:
    if _loader._cuda_failure:
        pytest.skip(_loader._cuda_failure)
    operators = [name for name in torch._C._dispatch_get_all_op_names() if name.startswith("salt::")]
    assert len(operators) == 7
    missing = [name for name in operators if not torch._C._dispatch_has_kernel_for_dispatch_key(name, "CUDA")]
    assert missing == []


def test_operators_name_the_openmp_runtime_as_torch_does() -> None:
    needed = list(dynamic(library("libsalt_ops.so"), "NEEDED"))
    assert "libgomp.so.1" in needed
    assert not any("python" in name or "c10" in name for name in needed)


def test_extension_module_knows_nothing_of_torch() -> None:
    from salt_ext import _C

    needed = list(dynamic(Path(_C.__file__), "NEEDED"))
    assert needed
    assert not any("torch" in name or "salt" in name for name in needed)


@pytest.mark.parametrize("name", ["libsalt_ops.so", "libsalt_cuda.so"])
def test_no_library_carries_a_search_path(name: str) -> None:
    path = library(name)
    assert [*dynamic(path, "RPATH"), *dynamic(path, "RUNPATH")] == []


@pytest.mark.parametrize(
    ("name", "called"),
    [
        ("libsalt_ops.so", {"salt_cpu_isa", "salt_set_cpu_isa"}),
        ("libsalt_cuda.so", {"salt_cuda_versions"}),
    ],
)
def test_libraries_export_what_the_loader_calls_and_nothing_else(name: str, called: set[str]) -> None:
    lines = tool("nm", "-D", "--defined-only", str(library(name))).splitlines()
    assert {line.split()[-1] for line in lines} == called


def test_one_openmp_runtime_in_the_process() -> None:
    maps = Path("/proc/self/maps")
    if not maps.exists():
        pytest.skip("/proc/self/maps is not there")
    program = "import salt_ext; print(open('/proc/self/maps').read())"
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    # address, permissions, offset, device, inode and, where a file is mapped, its path
    mapped = {fields[5] for line in answer.splitlines() if len(fields := line.split(maxsplit=5)) == 6}
    assert str(library("libsalt_ops.so")) in mapped
    runtimes = {path for path in mapped if re.match(r"lib(gomp|omp|iomp5)\b", path.rsplit("/", 1)[-1])}
    assert len(runtimes) == 1
