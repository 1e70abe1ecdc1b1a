"""The code of a setting does what the case did."""

import dataclasses
from pathlib import Path

from bench.html.recipe import code, recipes, shell
from tests.support.cases import case
from tests.support.results import replicates, run_of

PLAIN = [0.010, 0.0101, 0.0099, 0.010, 0.0101]
FAST = [0.005, 0.0051, 0.0049, 0.005, 0.0051]


def test_a_float16_step_goes_through_a_scaler_with_the_backward_outside_autocast() -> None:
    values = {"mode": "training", "amp": "float16", "device": "cuda:0", "compile": "default"}
    assert list(code(values)) == [
        "import torch",
        "",
        'model = model.to("cuda:0").train()',
        'x = x.to("cuda:0")  # every input',
        'target = target.to("cuda:0")',
        "model = torch.compile(model, dynamic=False)",
        'scaler = torch.amp.GradScaler("cuda")  # a single time, before the loop',
        'with torch.autocast("cuda", dtype=torch.float16):',
        "    loss = criterion(model(x), target)",
        "scaler.scale(loss).backward()",
        "scaler.step(optimizer)",
        "scaler.update()",
        "optimizer.zero_grad()",
    ]


def test_a_layout_or_a_dtype_is_for_images_alone() -> None:
    values = {"mode": "inference", "memory_format": "channels_last", "device": "cuda:0"}
    assert list(code(values))[3:] == [
        'x = x.to("cuda:0", memory_format=torch.channels_last)  # every input that is an image',
        "with torch.inference_mode():",
        "    y = model(x)",
    ]


def test_the_variables_of_the_allocator_are_set_in_the_shell() -> None:
    assert "export MALLOC_TOP_PAD_=268435456" in list(shell("retained"))
    assert list(shell(None)) == []


def test_a_setting_that_is_surely_faster_has_a_recipe_and_a_slower_one_has_none(
    tmp_path: Path,
) -> None:
    other = case(memory_format="channels_last")
    fast = run_of(tmp_path / "a", replicates(case(), PLAIN) + replicates(other, FAST))
    slow = run_of(tmp_path / "b", replicates(case(), FAST) + replicates(other, PLAIN))
    (found,) = recipes(fast, 6)
    assert found.title == "channels_last for convnet inference"
    assert "memory_format=torch.channels_last" in found.code
    assert recipes(slow, 6) == []


def test_a_value_that_its_axis_does_not_have_gives_no_code(tmp_path: Path) -> None:
    odd = dataclasses.replace(case(), compile='x"); evil("')
    run = run_of(tmp_path / "run", replicates(case(), PLAIN) + replicates(odd, FAST))
    assert recipes(run, 6) == []
