"""TrainingArguments by their own names: taken over, refused with near matches, and in step with the curve."""

from __future__ import annotations

import pytest

pytest.importorskip("accelerate", reason="transformers' TrainingArguments need accelerate")

from salt_ext.adaptation.arguments import base_arguments, batches, phase_arguments, read_config
from salt_ext.errors import InputError

CPU = {"use_cpu": True, "bf16": False}


def test_yaml_is_taken_as_it_is_meant(tmp_path):
    pytest.importorskip("yaml", reason="--config is read by pyyaml")
    file = tmp_path / "a.yaml"
    file.write_text("learning_rate: 3e-4  # YAML takes it for a word\nlr_scheduler_type: linear\nwarmup_steps: 7\n")
    assert read_config(file) == {"learning_rate": 3e-4, "lr_scheduler_type": "linear", "warmup_steps": 7}
    for content, said in (("[1", "cannot be read"), ("- a\n", "holds list"), ("\xff", "lines of NAME: VALUE")):
        file.write_text(content)
        with pytest.raises(InputError, match=said):
            read_config(file)
    with pytest.raises(InputError, match=r"missing\.yaml cannot be read"):
        read_config(tmp_path / "missing.yaml")


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({"learning_rte": 1}, "there is no learning_rte; did you mean learning_rate"),
        ({"qqqq": 1}, "there is no qqqq; expected names of transformers' TrainingArguments"),
        ({"max_steps": 5}, "max_steps is not to be given here: training is counted in tokens"),
        ({"output_dir": "x"}, "output_dir is not to be given here"),
    ],
)
def test_names_that_do_not_exist_or_are_not_the_users(config, said):
    with pytest.raises(InputError, match=said):
        read_config(config)


def test_values_that_transformers_refuses(tmp_path):
    with pytest.raises(InputError, match=r"transformers refuses.*cosin"):
        base_arguments(tmp_path, CPU | {"lr_scheduler_type": "cosin"})


def test_checkpoints_fall_on_lines_of_the_curve(tmp_path):
    base = base_arguments(tmp_path, CPU)
    for steps in (1, 9, 250, 12_345):
        made = phase_arguments(base, tmp_path, CPU, steps=steps)
        assert made.max_steps == steps
        assert made.save_steps % made.logging_steps == made.eval_steps % made.logging_steps == 0
        assert made.save_steps <= steps or steps == 1
    with pytest.raises(InputError, match="save_steps is 3, expected a multiple of logging_steps, which is 2"):
        phase_arguments(base, tmp_path, CPU | {"save_steps": 3, "logging_steps": 2}, steps=10)


def test_a_step_is_cut_into_batches_that_fit(tmp_path):
    base = base_arguments(tmp_path, CPU)

    def cut(wanted, config=CPU, vocabulary=1000, context=512):
        return batches(base, config, context=context, tokens_per_step=wanted, vocabulary=vocabulary)

    assert cut(8192) == (8, 2)
    assert cut(7 * 512) == (7, 1)
    assert cut(8192, vocabulary=128_000) == (1, 16)  # 262 MB of logits a window
    assert cut(None) == (8, 2)
    assert cut(8192, CPU | {"per_device_train_batch_size": 4}) == (4, 4)
    assert cut(None, CPU | {"per_device_train_batch_size": 3, "gradient_accumulation_steps": 5}) == (3, 5)
    for wanted, config, said in (
        (500, CPU, "expected 512"),
        (8192, CPU | {"per_device_train_batch_size": 3}, "expected a divisor of the 16 windows"),
        (8192, CPU | {"gradient_accumulation_steps": 2}, "expected one"),
    ):
        with pytest.raises(InputError, match=said):
            cut(wanted, config)
