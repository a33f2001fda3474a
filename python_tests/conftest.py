"""What all tests share."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path

import pytest

# No test may reach for the network, whatever the machine allows.
os.environ["HF_HUB_OFFLINE"] = "1"
# Code that comes with a test's model must not be copied into the user's cache; libraries read this when imported.
os.environ["HF_MODULES_CACHE"] = tempfile.mkdtemp(prefix="salt-ext-tests-")
atexit.register(shutil.rmtree, os.environ["HF_MODULES_CACHE"], ignore_errors=True)
# Python processes that tests start must not take the source tree they are started in for the installed package.
os.environ["PYTHONSAFEPATH"] = "1"

REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real tokenizers, models and text, which is no part of the project."""
    folder = Path(os.environ.get("SALT_REAL_DATA") or REPOSITORY.parent / "shared" / "real")
    if not folder.is_dir():
        pytest.skip(f"real data not found in {folder}; name its folder with SALT_REAL_DATA")
    return folder
