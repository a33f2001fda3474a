"""An unfinished training is gone on with by the same inputs alone, and nothing of anybody else's is touched."""

from __future__ import annotations

import pytest

from salt_ext.adaptation.workspace import Workspace
from salt_ext.errors import OutputError

INPUTS = {"text": ["a", None], "lr": 0.1}


def test_the_same_inputs_go_on(tmp_path):
    begun = Workspace.open(tmp_path / "out", INPUTS)
    assert (begun.found, begun.folder) == (False, tmp_path / "out.unfinished")
    begun.result(1).mkdir(parents=True)
    again = Workspace.open(tmp_path / "out", INPUTS)
    assert again.found
    assert again.result(1).is_dir()
    again.remove()
    assert not list(tmp_path.iterdir())


def test_other_inputs_are_refused_once_something_is_trained(tmp_path):
    Workspace.open(tmp_path / "out", INPUTS)
    other = Workspace.open(tmp_path / "out", INPUTS | {"lr": 0.2})
    assert not other.found
    (other.phase(1) / "checkpoint-5").mkdir(parents=True)
    with pytest.raises(OutputError, match=r"out\.unfinished holds an unfinished training of other inputs \(lr\)"):
        Workspace.open(tmp_path / "out", INPUTS)
    assert (other.phase(1) / "checkpoint-5").is_dir()


@pytest.mark.parametrize("content", [b"notes", b"[]", b'{"salt-ext compare": 1}'])
def test_what_is_no_training_stays(tmp_path, content):
    folder = tmp_path / "out.unfinished"
    folder.mkdir()
    for name in ("mine.txt", "inputs.json"):
        (folder / name).write_bytes(content)
        with pytest.raises(OutputError, match=r"is no training's; choose another output, or move it away"):
            Workspace.open(tmp_path / "out", INPUTS)
        assert (folder / name).read_bytes() == content
