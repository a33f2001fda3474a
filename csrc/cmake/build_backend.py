"""The PEP 517 build backend: scikit-build-core, told which torch to build against.

A user who has torch must not download another one for the build, so torch is no static build requirement: it is asked
for only where the environment that is installed into has none that is new enough.
"""

from __future__ import annotations

from typing import Any

from find_torch import MINIMUM, find_torch
from scikit_build_core import build as _skbuild
from scikit_build_core.build import build_sdist, get_requires_for_build_sdist

__all__ = [
    "build_editable",
    "build_sdist",
    "build_wheel",
    "get_requires_for_build_editable",
    "get_requires_for_build_sdist",
    "get_requires_for_build_wheel",
    "prepare_metadata_for_build_editable",
    "prepare_metadata_for_build_wheel",
]

Settings = dict[str, Any] | None

prepare_metadata_for_build_wheel = _skbuild.prepare_metadata_for_build_wheel
prepare_metadata_for_build_editable = _skbuild.prepare_metadata_for_build_editable


def _torch_requirement() -> list[str]:
    return [] if find_torch() else [f"torch>={MINIMUM[0]}.{MINIMUM[1]}"]


def _with_torch(settings: Settings) -> dict[str, Any]:
    folder = find_torch()
    found = {"cmake.define.SALT_TORCH_DIR": str(folder)} if folder else {}
    return {**found, **(settings or {})}


def get_requires_for_build_wheel(config_settings: Settings = None) -> list[str]:
    """What the isolated build needs beside pyproject.toml's list: cmake and ninja if absent, torch if absent."""
    return [*_skbuild.get_requires_for_build_wheel(config_settings), *_torch_requirement()]


def get_requires_for_build_editable(config_settings: Settings = None) -> list[str]:
    """As for a wheel."""
    return [*_skbuild.get_requires_for_build_editable(config_settings), *_torch_requirement()]


def build_wheel(wheel_directory: str, config_settings: Settings = None, metadata_directory: str | None = None) -> str:
    """Builds the wheel against the torch found."""
    return str(_skbuild.build_wheel(wheel_directory, _with_torch(config_settings), metadata_directory))


def build_editable(
    wheel_directory: str, config_settings: Settings = None, metadata_directory: str | None = None
) -> str:
    """Builds the editable wheel against the torch found."""
    return str(_skbuild.build_editable(wheel_directory, _with_torch(config_settings), metadata_directory))
