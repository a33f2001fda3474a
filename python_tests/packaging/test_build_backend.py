"""Which torch the build takes, and when it asks for one: tried on made-up environments, no torch is imported."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

CMAKE_FOLDER = Path(__file__).resolve().parents[2] / "csrc" / "cmake"


def make_torch(site_packages: Path, version: str) -> Path:
    """A torch package that has a version and fails when it is imported."""
    folder = site_packages / "torch"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("raise AssertionError('torch was imported')\n")
    (folder / "version.py").write_text(f"__all__ = ['__version__']\n__version__ = '{version}'\ncuda = None\n")
    return folder


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> tuple[ModuleType, ModuleType]:
    """The modules find_torch and build_backend, as pip imports them, in an environment that names no torch."""
    pytest.importorskip("scikit_build_core", reason="the build backend stands on scikit-build-core")
    monkeypatch.syspath_prepend(str(CMAKE_FOLDER))
    monkeypatch.delenv("SALT_TORCH_DIR", raising=False)
    monkeypatch.delitem(sys.modules, "find_torch", raising=False)
    monkeypatch.delitem(sys.modules, "build_backend", raising=False)
    import build_backend
    import find_torch

    return find_torch, build_backend


@pytest.fixture
def isolated(modules: tuple[ModuleType, ModuleType], monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """build_backend where neither this process nor the target environment has a torch."""
    find_torch, build_backend = modules
    monkeypatch.setattr(find_torch, "in_this_process", lambda: None)
    monkeypatch.setattr(find_torch, "in_target_environment", lambda: None)
    return build_backend


def torch_requirements(build_backend: ModuleType) -> list[list[str]]:
    wheel, editable = build_backend.get_requires_for_build_wheel(), build_backend.get_requires_for_build_editable()
    return [[name for name in names if name.startswith("torch")] for names in (wheel, editable)]


def test_torch_is_required_only_where_there_is_none(isolated: ModuleType) -> None:
    assert torch_requirements(isolated) == [["torch>=2.11"], ["torch>=2.11"]]
    assert not any(name.startswith("torch") for name in isolated.get_requires_for_build_sdist())


@pytest.mark.parametrize(
    ("version", "enough"),
    [("2.11.0", True), ("2.13.0+cpu", True), ("3.0.0", True), ("2.9.1", False), ("2.10.0+cu128", False)],
)
def test_torch_of_the_target_is_taken_when_new_enough(
    modules: tuple[ModuleType, ModuleType],
    isolated: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    version: str,
    enough: bool,
) -> None:
    folder = make_torch(tmp_path, version)
    monkeypatch.setattr(modules[0], "in_target_environment", lambda: folder)
    assert torch_requirements(isolated) == ([[], []] if enough else [["torch>=2.11"], ["torch>=2.11"]])
    assert modules[0].find_torch() == (folder if enough else None)


def test_named_folder_wins(
    modules: tuple[ModuleType, ModuleType], isolated: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = make_torch(tmp_path, "2.12.0")
    monkeypatch.setattr(modules[0], "in_target_environment", lambda: tmp_path / "other")
    monkeypatch.setenv("SALT_TORCH_DIR", str(folder))
    assert torch_requirements(isolated) == [[], []]
    assert modules[0].find_torch() == folder


def test_cmake_is_told_the_folder_unless_the_user_says_another(
    modules: tuple[ModuleType, ModuleType], isolated: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen: list[dict[str, str]] = []
    monkeypatch.setattr(modules[0], "in_target_environment", lambda: make_torch(tmp_path, "2.12.0"))
    skbuild = isolated._skbuild
    monkeypatch.setattr(skbuild, "build_wheel", lambda folder, settings, metadata: seen.append(settings) or "a.whl")
    isolated.build_wheel("dist")
    (tmp_path / "torch" / "version.py").unlink()
    monkeypatch.setattr(modules[0], "in_target_environment", lambda: None)
    isolated.build_wheel("dist", {"cmake.define.SALT_TORCH_DIR": "mine", "build.verbose": "true"})
    assert seen == [
        {"cmake.define.SALT_TORCH_DIR": str(tmp_path / "torch")},
        {"cmake.define.SALT_TORCH_DIR": "mine", "build.verbose": "true"},
    ]


@pytest.mark.parametrize("version", ["2.13.0+cpu", "2.10.0", None])
def test_found_through_the_isolation_that_pip_builds_in(tmp_path: Path, version: str | None) -> None:
    """pip hides the target's packages by a sitecustomize module on PYTHONPATH; the target's interpreter is the same."""
    target = tmp_path / "target"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(target)], check=True)
    python = target / "bin" / "python"
    ask = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site_packages = Path(subprocess.run([python, "-c", ask], capture_output=True, text=True, check=True).stdout.strip())
    folder = make_torch(site_packages, version) if version else None
    overlay = tmp_path / "overlay"
    overlay.mkdir()
    (overlay / "sitecustomize.py").write_text(
        f"import sys\nsys.path[:] = [p for p in sys.path if p != {str(site_packages)!r}]\n"
    )
    environment = {key: value for key, value in os.environ.items() if key != "SALT_TORCH_DIR"}
    environment |= {"PYTHONPATH": str(overlay), "PYTHONNOUSERSITE": "1"}
    answer = subprocess.run(
        [python, CMAKE_FOLDER / "find_torch.py"], capture_output=True, text=True, env=environment, check=False
    )
    if version == "2.13.0+cpu":
        assert (answer.returncode, Path(answer.stdout.strip())) == (0, folder)
    else:
        assert answer.returncode == 1
        assert "no torch >= 2.11 found" in answer.stderr
