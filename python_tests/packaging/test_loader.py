"""The version gate, the load order and what backends() tells."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import salt_ext
from salt_ext.ops import loader as _loader


def run(program: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, env={**os.environ, **environment}
    )


@pytest.mark.parametrize("version", ["1.13.1", "2.2.0", "2.9.1", "2.10.0+cu128", "unknown"])
def test_old_torch_is_refused(version: str) -> None:
    with pytest.raises(ImportError, match=r"needs torch >= 2\.11 and found torch " + version.replace("+", r"\+")):
        _loader.check_torch_version(version)


@pytest.mark.parametrize("version", ["2.11.0", "2.13.0+cpu", "2.100.0", "3.0.0.dev20260101+cu130"])
def test_newer_torch_is_accepted(version: str) -> None:
    _loader.check_torch_version(version)


def test_import_under_old_torch_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text("__version__ = '2.10.0'\n")
    answer = run("import salt_ext", PYTHONPATH=str(tmp_path))
    assert answer.returncode == 1
    assert "ImportError: salt-ext needs torch >= 2.11 and found torch 2.10.0; upgrade torch" in answer.stderr


def test_import_brings_no_transformers() -> None:
    answer = run("import sys, salt_ext; print(*sorted({name.split('.')[0] for name in sys.modules}))")
    assert answer.returncode == 0, answer.stderr
    assert "torch" in answer.stdout.split()
    assert not {"transformers", "tokenizers", "huggingface_hub", "typer"} & set(answer.stdout.split())


def test_lazy_names_are_the_real_ones() -> None:
    from salt_ext.pipeline import transfer
    from salt_ext.plan import TransferPlan

    assert salt_ext.transfer is transfer
    assert salt_ext.TransferPlan is TransferPlan
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = salt_ext.nonsense


def test_cpu_backend_names_its_instruction_set() -> None:
    cpu = salt_ext.backends()["cpu"]
    assert (cpu.name, cpu.available, cpu.reason) == ("cpu", True, "")
    assert cpu.details["isa"] in cpu.details["isa_variants"].split()
    assert int(cpu.details["threads"]) == torch.get_num_threads()


def test_cuda_backend_is_there_or_says_why_not() -> None:
    cuda = salt_ext.backends()["cuda"]
    assert cuda.available == (cuda.reason == "")
    if torch.version.cuda is None:
        assert cuda.reason == f"torch {torch.__version__} is built without CUDA"
    elif _loader.find_library("libsalt_cuda.so") is None:
        assert cuda.reason.startswith("salt-ext was built without its CUDA library: ")
        assert not cuda.reason.endswith(": ")
    else:
        assert cuda.details["cublas"].split(".")[0] == torch.version.cuda.split(".")[0]
        assert cuda.available == torch.cuda.is_available()


def test_instruction_set_can_be_chosen_and_is_checked() -> None:
    before = _loader.cpu_isa()
    try:
        _loader.set_cpu_isa("portable")
        assert salt_ext.backends()["cpu"].details["isa"] == "portable"
        with pytest.raises(ValueError, match="instruction set 'mmx' is not available"):
            _loader.set_cpu_isa("mmx")
        assert _loader.cpu_isa() == "portable"
    finally:
        _loader.set_cpu_isa(before)


def run_copy(folder: Path, program: str) -> subprocess.CompletedProcess[str]:
    """Runs `program` with the package in `folder` instead of the installed one, editable installs included."""
    prelude = f"""
import sys
sys.meta_path[:] = [finder for finder in sys.meta_path if "ScikitBuild" not in type(finder).__name__]
sys.path.insert(0, {str(folder)!r})
import torch
"""
    return run(prelude + program + f"\nassert salt_ext.__file__.startswith({str(folder)!r})")


def copy_package(folder: Path, *ignored: str) -> Path:
    """The package as the test run sees it, both folders of an editable install in one."""
    package = folder / "salt_ext"
    for part in salt_ext.__path__:
        shutil.copytree(part, package, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__", *ignored))
    return package


def test_source_tree_uses_the_installed_binaries(tmp_path: Path) -> None:
    package = copy_package(tmp_path, "*.so")
    answer = run_copy(tmp_path, "import salt_ext; print(salt_ext.backends()['cpu'].available)")
    assert not list(package.glob("*.so"))
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.split() == ["True"]


def test_missing_binaries_are_told(tmp_path: Path) -> None:
    copy_package(tmp_path, "*.so")
    # Not by `discover`, which Python 3.10 does not ask for a distribution by its name.
    hide = """
import importlib.metadata as m
def from_name(name):
    raise m.PackageNotFoundError(name)
m.Distribution.from_name = from_name
"""
    answer = run_copy(tmp_path, hide + "import salt_ext")
    assert answer.returncode == 1
    assert f"ImportError: salt_ext in {tmp_path}/salt_ext has no compiled library libsalt_ops.so" in answer.stderr


def test_broken_cuda_library_does_not_break_the_import(tmp_path: Path) -> None:
    package = copy_package(tmp_path)
    (package / "libsalt_cuda.so").write_bytes(b"not a library")
    program = """
torch.version.cuda = "13.0"
import salt_ext
print(torch.ops.salt.csr_matmul)
print(salt_ext.backends()["cuda"])
"""
    answer = run_copy(tmp_path, program)
    assert answer.returncode == 0, answer.stderr
    assert "salt.csr_matmul" in answer.stdout
    assert "available=False" in answer.stdout
    assert "the CUDA library could not be loaded" in answer.stdout
    assert "libsalt_cuda.so" in answer.stdout
