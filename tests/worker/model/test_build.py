"""From a subject's name to something that can be called under a case's settings."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from bench.core.subject import parse
from bench.worker.jobs.prepare import make_step
from bench.worker.model import inputs
from bench.worker.model.build import Prepared, SubjectError, build, prepare
from bench.worker.model.layer_names import LayerError
from bench.worker.model.loss import FixedGradient
from bench.worker.model.step_inputs import StepError
from tests.support.cases import case

BROKEN = """
from torch import nn
import torch
number = 3
def fails(): raise RuntimeError("no\\nweights")
def gives(): return 3
class Holder:
    class Inner(nn.ReLU): pass
class Odd(nn.Module):
    def forward(self, x): return x
    loss = 3
"""


@pytest.fixture
def broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_subject.py").write_text(BROKEN)
    (tmp_path / "needs_subject.py").write_text("import not_installed_anywhere")
    (tmp_path / "raises_subject.py").write_text("1 / 0")
    (tmp_path / "inside_subject.py").write_text("from .layers import Block")
    (tmp_path / "outer_subject").mkdir()
    (tmp_path / "outer_subject/net.py").write_text("from ..layers import Block")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [one for one in sys.path if one])


MADE = """
import torch
from torch import nn
net = nn.Linear(4, 4)
held = nn.Linear(4, 4)
held.kept = held.weight * 2
"""


def test_a_network_that_its_module_made_is_copied_and_has_the_same_weights_every_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "made_subject.py").write_text(MADE)
    monkeypatch.syspath_prepend(str(tmp_path))
    one = build(parse("made_subject:net"))
    assert one is not sys.modules["made_subject"].net
    weights = one.weight
    monkeypatch.delitem(sys.modules, "made_subject")
    torch.manual_seed(5)
    other = build(parse("made_subject:net")).weight
    assert isinstance(weights, torch.Tensor)
    assert isinstance(other, torch.Tensor)
    assert torch.equal(weights, other)
    with pytest.raises(SubjectError, match="remove its parentheses"):
        build(parse("made_subject:net()"))
    with pytest.raises(SubjectError, match=r"cannot be copied .*; give a function that makes it"):
        build(parse("made_subject:held"))


@pytest.mark.usefixtures("broken")
@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("no_such_module:x", "or in the current directory as no_such_module.py"),
        ("torch.no_such:x", "no module named 'torch.no_such'"),
        (
            "broken_subjct.py:fails",
            (
                "broken_subjct.py:fails: no file 'broken_subjct.py' in the current directory or "
                "its repository; did you mean 'broken_subject.py:fails'?"
            ),
        ),
        (
            "broken_subject.py:fail",
            "broken_subject.py:fail: broken_subject.py has no callable 'fail'; it has fails, gives",
        ),
        ("needs_subject:x", "needs_subject needs 'not_installed_anywhere', not installed"),
        ("raises_subject:x", "importing it raised ZeroDivisionError: division by zero"),
        ("inside_subject:x", "known parent package; a relative import needs the package around it"),
        ("outer_subject.net:x", "top-level package; a relative import needs the package around it"),
        ("torch.nn:NoSuch", "torch.nn:NoSuch: torch.nn has no callable 'NoSuch'"),
        ("broken_subject:number", "has no callable 'number'"),
        ("broken_subject:fails", "fails raised RuntimeError: no weights"),
        ("broken_subject:gives", "gave a int, not an nn.Module"),
        ("torch.nn:Conv2d(3)", "Conv2d raised TypeError"),
    ],
)
def test_what_cannot_be_built_is_said_in_one_line(name: str, says: str) -> None:
    with pytest.raises(SubjectError) as caught:
        build(parse(name))
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("broken")
def test_the_current_directory_and_inner_names_are_found() -> None:
    assert type(build(parse("broken_subject:Holder.Inner"))).__name__ == "Inner"


def test_arguments_are_passed_and_weights_are_the_same_every_time() -> None:
    one, two = (build(parse("torch.nn:Conv2d(3, 8, 3, stride=2)")) for _ in range(2))
    assert isinstance(one, nn.Conv2d)
    assert isinstance(two, nn.Conv2d)
    assert (one.out_channels, one.stride) == (8, (2, 2))
    assert torch.equal(one.weight, two.weight)


def conv(**changes: Any) -> Prepared:
    return prepare(case(subject="torch.nn:Conv2d(3, 8, 3)", batch=2, input="3,9,9", **changes))


def test_the_case_decides_dtype_layout_and_mode() -> None:
    prepared = conv(dtype="bfloat16", memory_format="channels_last", mode="training")
    weight, (image,) = prepared.module.get_parameter("weight"), prepared.args
    assert prepared.module.training
    assert (weight.dtype, image.dtype) == (torch.bfloat16, torch.bfloat16)
    for tensor in (weight, image):
        assert tensor.is_contiguous(memory_format=torch.channels_last)
    assert not image.requires_grad
    assert not conv().module.training


def test_channels_last_leaves_weights_of_five_dimensions_alone() -> None:
    prepared = prepare(
        case(
            subject="torch.nn:Conv3d(3, 8, 3)",
            batch=2,
            input="3,5,5,5",
            memory_format="channels_last",
        )
    )
    assert prepared.module.get_parameter("weight").is_contiguous()
    assert prepared.args[0].is_contiguous()


def test_without_parameters_the_input_gets_the_gradient() -> None:
    sigmoid = case(subject="torch.nn:Sigmoid", batch=2, input="4")
    assert not prepare(sigmoid).args[0].requires_grad
    assert prepare(replace(sigmoid, mode="training")).args[0].requires_grad


@pytest.mark.parametrize("inplace", [True, False])
def test_an_in_place_subject_gets_its_input_restored(*, inplace: bool) -> None:
    of = case(subject=f"torch.nn:ReLU(inplace={inplace})", batch=2, input="4")
    prepared = prepare(of)
    step = make_step(prepared, prepared.module, of, "cpu")
    step.prepare(1)
    step()
    step.prepare(1)
    assert step.restores is inplace


def test_a_subjects_own_inputs_and_the_default_loss_are_used() -> None:
    prepared = prepare(
        case(subject="tests.subjects.models:Text", batch=3, input="own", mode="training")
    )
    assert prepared.kwargs["tokens"].shape == (3, 7)
    assert isinstance(prepared.loss, FixedGradient)


def test_a_subject_without_inputs_is_refused() -> None:
    with pytest.raises(inputs.InputError, match="what shape is the input of Conv2d"):
        prepare(case(subject="torch.nn:Conv2d(3, 8, 3)", batch=2, input="own"))


RESIDUAL = case(subject="tests.subjects.models:Residual", batch=2, input="3,8,8")


@pytest.mark.parametrize("mode", ["inference", "training"])
def test_a_layer_comes_with_its_input_mode_and_gradient(mode: str) -> None:
    prepared = prepare(replace(RESIDUAL, subject=f"{RESIDUAL.subject}/relu1", mode=mode))
    assert isinstance(prepared.module, nn.ReLU)
    assert prepared.layer == "relu"
    assert prepared.restore
    assert prepared.module.training is (mode == "training")
    assert prepared.args[0].shape == (2, 8, 8, 8)
    assert prepared.args[0].requires_grad is (mode == "training")
    assert isinstance(prepared.loss, FixedGradient)
    # made before the first call, which is a figure; inference has no use for it
    assert len(prepared.loss.held()) == (mode == "training")


def test_a_layer_under_autocast_is_given_what_autocast_made() -> None:
    prepared = prepare(
        replace(RESIDUAL, subject=f"{RESIDUAL.subject}/bn", mode="training", amp="bfloat16")
    )
    assert prepared.args[0].dtype == torch.bfloat16
    assert prepared.module.get_parameter("weight").dtype == torch.float32


def test_random_layers_begin_with_the_same_numbers_whatever_was_called_before() -> None:
    prepare(replace(RESIDUAL, subject=f"{RESIDUAL.subject}/bn"))
    assert torch.equal(torch.rand(3), torch.rand(3, generator=torch.manual_seed(0)))
    conv()
    assert torch.equal(torch.rand(3), torch.rand(3, generator=torch.manual_seed(0)))


def test_an_unknown_layer_is_refused() -> None:
    with pytest.raises(LayerError, match="did you mean"):
        prepare(replace(RESIDUAL, subject=f"{RESIDUAL.subject}/blocks.7"))


def test_the_shipped_networks_layers_go_by_both_names() -> None:
    whole = case(batch=1, mode="inference")
    for name in ("conv1", "model.0"):
        prepared = prepare(replace(whole, subject=f"convnet/{name}", batch=2))
        assert prepared.layer == "model.0"
        assert prepared.args[0].shape == (2, 3, 224, 224)


def test_a_layer_that_only_training_calls_is_measured_in_inference_as_well() -> None:
    subject = "tests.subjects.models:Drops/auxiliary"
    one = case(subject=subject, mode="inference", batch=6, input="4")
    assert prepare(one).args[0].shape == (6, 4)


def test_the_shipped_network_brings_its_own_loss() -> None:
    prepared = prepare(case(batch=2, mode="training"))
    assert not isinstance(prepared.loss, FixedGradient)
    assert not prepared.restore


def test_a_layer_called_without_gradients_has_no_backward() -> None:
    trunk = case(subject="tests.subjects.models:FrozenTrunk/trunk", mode="training", input="8")
    with pytest.raises(StepError, match="training is not supported here: the network calls trunk"):
        prepare(trunk)
    head = prepare(replace(trunk, subject="tests.subjects.models:FrozenTrunk/head"))
    assert not head.args[0].requires_grad
    assert prepare(replace(trunk, mode="inference")).module(torch.zeros(2, 8)).shape == (2, 8)


def test_the_layers_of_a_frozen_network_have_the_backward_that_they_have_inside() -> None:
    for layer, writes in (("relu", True), ("fc", False)):
        one = case(subject=f"tests.subjects.models:AllFrozen/{layer}", mode="training", input="8")
        made = prepare(one)
        assert made.args[0].requires_grad
        assert made.restore is writes


@pytest.mark.parametrize("mode", ["inference", "training"])
def test_lazy_layers_have_the_same_weights_every_time_before_anything_is_timed(mode: str) -> None:
    lazy = case(subject="tests.subjects.models:Lazy", batch=3, input="3,9,9", mode=mode)
    one, other = prepare(lazy), prepare(replace(lazy, batch=5, memory_format="channels_last"))
    assert {name: tuple(value.shape) for name, value in one.module.state_dict().items()} == {
        "conv.weight": (4, 3, 3, 3),
        "conv.bias": (4,),
        "norm.weight": (4,),
        "norm.bias": (4,),
        "norm.running_mean": (4,),
        "norm.running_var": (4,),
        "norm.num_batches_tracked": (),
        "fc.weight": (2, 4),
        "fc.bias": (2,),
    }
    assert one.module.training == (mode == "training")
    pairs = zip(one.module.state_dict().values(), other.module.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
