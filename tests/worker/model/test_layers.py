"""The layers of networks as real ones are: found, captured, and run by themselves."""

import contextlib
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bench.worker.model import layers, pytree
from bench.worker.model.layer_names import LayerError
from bench.worker.model.loss import FixedGradient
from tests.subjects.models import (
    AllFrozen,
    Drops,
    FrozenTrunk,
    Recurrent,
    Residual,
    Text,
    TwoInputs,
)

IMAGE = torch.randn(2, 3, 8, 8)
NETWORKS: dict[str, tuple[nn.Module, tuple[Any, ...], dict[str, Any]]] = {
    "residual": (Residual(), (IMAGE,), {}),
    "text": (Text(), (), Text().example_inputs(2)),
    "recurrent": (Recurrent(), (torch.randn(2, 5, 6),), {}),
    "two inputs": (TwoInputs(), (torch.randn(2, 4), torch.randn(2, 4)), {}),
}


def test_the_layers_are_the_called_modules_that_call_none_in_their_order() -> None:
    found = layers.leaves(*NETWORKS["residual"])
    assert [one.name for one in found] == [
        "stem",
        "bn",
        "relu",
        "depthwise",
        "pointwise",
        "blocks.0",
        "fc",
    ]
    assert [one.type for one in found][:3] == ["Conv2d", "BatchNorm2d", "ReLU"]
    assert [one.parameters for one in found][:3] == [224, 16, 0]


def test_equal_layers_are_one_and_name_the_others() -> None:
    found = {one.name: one for one in layers.leaves(*NETWORKS["residual"])}
    assert found["blocks.0"].same_as == ("blocks.1",)
    assert found["relu"].same_as == ("relu#2", "relu1#2")
    assert found["fc"].same_as == ()
    assert [found[name].calls for name in ("blocks.0", "relu", "fc")] == [2, 2, 1]


def test_a_layer_called_without_gradients_equals_none_called_with_them() -> None:
    found = layers.leaves(FrozenTrunk(), (torch.zeros(2, 8),), {})
    assert [(one.name, one.same_as) for one in found] == [("trunk", ()), ("head", ())]


def test_a_leaf_that_needs_a_gradient_may_be_written_to_by_the_first_layer() -> None:
    given = torch.ones(2, 8, requires_grad=True)
    found = layers.leaves(AllFrozen(), (given,), {})
    assert [(one.name, one.writes_input) for one in found] == [("relu", True), ("fc", False)]
    assert layers.capture(AllFrozen(), "fc", (given,), {}).args[0].requires_grad


def test_the_work_of_a_layer_is_its_multiply_adds_and_what_it_touches() -> None:
    """3 → 8 channels, 3 × 3, on 16 × 16: 216 weights at 256 positions; a linear layer at one."""
    network = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.Flatten(), nn.Linear(2048, 5))
    (conv, flatten, fc), _ = layers.list_layers(network, (torch.zeros(1, 3, 16, 16),), {})
    assert conv.work == 216 * 256 + 10 * (768 + 2048)
    assert flatten.work == 10 * (2048 + 2048)
    assert fc.work == 10240 + 10 * (2048 + 5)


def test_the_networks_own_names_are_known() -> None:
    found = {one.name: one.alias for one in layers.leaves(*NETWORKS["residual"])}
    assert (found["stem"], found["relu"], found["fc"]) == ("first", "relu1", None)


def test_a_layer_that_writes_to_its_input_is_known() -> None:
    found = layers.leaves(*NETWORKS["residual"])
    assert [one.name for one in found if one.writes_input] == ["relu"]


def test_attention_is_a_layer_though_it_holds_a_module() -> None:
    found, others = layers.list_layers(*NETWORKS["text"])
    names = [one.name for one in found]
    assert "encoder.self_attn" in names
    assert not any("out_proj" in name for name in names)
    assert [one.name for one in others] == ["encoder"]


def test_an_lstm_called_with_a_state_is_another_layer_than_one_without() -> None:
    assert [one.name for one in layers.leaves(*NETWORKS["recurrent"])] == ["lstm", "lstm#2", "last"]


def test_one_module_under_two_names_is_called_twice_and_measured_once() -> None:
    found = {one.name: one for one in layers.leaves(*NETWORKS["two inputs"])}
    assert list(found) == ["left.0", "left.1", "join"]
    assert found["left.0"].same_as == ("left.0#2",)


def test_layers_that_differ_in_a_setting_only_are_two() -> None:
    class Scale(nn.Module):
        def __init__(self, factor: float) -> None:
            super().__init__()
            self.factor = factor

        def forward(self, x: Tensor) -> Tensor:
            return x * self.factor

    network = nn.Sequential(nn.Linear(3, 3), Scale(2), Scale(3), Scale(3))
    found = layers.leaves(network, (torch.randn(2, 3),), {})
    assert [(one.name, one.same_as) for one in found] == [("0", ()), ("1", ()), ("2", ("3",))]


def test_two_lstms_with_the_same_settings_are_equal() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.LSTM(4, 4), nn.LSTM(4, 4)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            x = x * torch.ones(4, requires_grad=True)
            return self.a(x)[0], self.b(x)[0]

    (found,) = layers.leaves(Two(), (torch.randn(3, 2, 4),), {})
    assert (found.name, found.same_as) == ("a", ("b",))


def test_a_network_that_calls_nothing_has_no_layers() -> None:
    assert layers.list_layers(nn.ReLU(), (IMAGE,), {}) == ((), ())


@pytest.mark.parametrize("kind", NETWORKS)
def test_looking_leaves_the_network_as_it_was(kind: str) -> None:
    network, args, kwargs = NETWORKS[kind]
    network.eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    torch.manual_seed(3)
    layers.list_layers(network, args, kwargs)
    layers.capture(network, layers.leaves(network, args, kwargs)[0].name, args, kwargs)
    drawn = torch.rand(2)
    assert not any(module.training for module in network.modules())
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert not any(
        module._forward_hooks or module._forward_pre_hooks for module in network.modules()
    )
    assert torch.equal(drawn, torch.rand(2, generator=torch.manual_seed(3)))


def every_call() -> list[tuple[str, str]]:
    """Of every network every called module, grouped ones as well."""
    return [
        (kind, name)
        for kind, network in NETWORKS.items()
        for found in layers.list_layers(*network)
        for one in found
        for name in (one.name, *one.same_as)
    ]


def fresh(given: Any) -> Any:
    """Not leaves, as inside a network."""
    return pytree.map_tensors(
        lambda one: one.detach().requires_grad_().clone() if one.requires_grad else one.clone(),
        given,
    )


@pytest.mark.parametrize(("kind", "name"), every_call())
def test_a_captured_layer_runs_by_itself_and_gives_what_it_gives_inside(
    kind: str, name: str
) -> None:
    torch.manual_seed(0)
    network, args, kwargs = NETWORKS[kind]
    network.train()
    random = torch.get_rng_state()
    seen = layers.capture(network, name, args, kwargs)
    inside = list(pytree.tensors(seen.output))
    if not any(isinstance(one, nn.Dropout) for one in seen.module.modules()):
        alone = list(pytree.tensors(seen.module(*fresh(seen.args), **fresh(seen.kwargs))))
        torch.testing.assert_close(alone, inside)
    assert torch.equal(torch.get_rng_state(), random) or "encoder" in name or "left" in name
    output = seen.module(*fresh(seen.args), **fresh(seen.kwargs))
    FixedGradient(scaled=False)(output).backward()
    for parameter in seen.module.parameters():
        assert parameter.grad is not None
    network.zero_grad()


def test_the_first_layers_input_needs_no_gradient_and_the_second_ones_does() -> None:
    network, args, kwargs = NETWORKS["residual"]
    assert [
        next(pytree.tensors(layers.capture(network, name, args, kwargs).args)).requires_grad
        for name in ("stem", "bn")
    ] == [False, True]


def test_an_in_place_layer_is_given_what_stood_there_before_it_wrote() -> None:
    network, args, kwargs = NETWORKS["residual"]
    seen = layers.capture(network, "relu", args, kwargs)
    assert seen.writes_input
    assert float(seen.args[0].detach().min()) < 0


def test_the_second_call_is_given_the_second_input() -> None:
    network, args, kwargs = NETWORKS["recurrent"]
    assert len(layers.capture(network, "lstm", args, kwargs).args) == 1
    assert len(layers.capture(network, "lstm#2", args, kwargs).args) == 2


def test_the_input_keeps_the_layout_that_it_has_inside() -> None:
    class LastStep(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.last = nn.Linear(6, 3)

        def forward(self, x: Tensor) -> Tensor:
            return torch.as_tensor(self.last(x[:, -1]))

    seen = layers.capture(LastStep(), "last", (torch.randn(2, 5, 6),), {})
    assert seen.args[0].stride() == (30, 1)  # the last of five steps, not packed
    image = IMAGE.contiguous(memory_format=torch.channels_last)
    last = layers.capture(Residual(), "bn", (image,), {})
    assert last.args[0].is_contiguous(memory_format=torch.channels_last)


def test_query_key_and_value_stay_one_tensor() -> None:
    network, args, kwargs = NETWORKS["text"]
    seen = layers.capture(network, "encoder.self_attn", args, kwargs)
    assert seen.args[0] is seen.args[1] is seen.args[2]
    assert seen.kwargs["key_padding_mask"] is None


def test_autocast_reaches_the_layers_input() -> None:
    network, args, kwargs = NETWORKS["residual"]

    def autocast() -> contextlib.AbstractContextManager[Any]:
        return torch.autocast("cpu", dtype=torch.bfloat16)

    assert layers.capture(network, "bn", args, kwargs, autocast).args[0].dtype == torch.bfloat16


@pytest.mark.parametrize("name", ["first", "stem", "stem#1"])
def test_a_layer_goes_by_its_dotted_and_by_the_networks_name(name: str) -> None:
    network, args, kwargs = NETWORKS["residual"]
    assert layers.capture(network, name, args, kwargs).module is network.get_submodule("stem")


def test_a_layer_goes_by_any_name_of_a_shared_module() -> None:
    network, args, kwargs = NETWORKS["two inputs"]
    assert layers.capture(network, "right.0", args, kwargs).name == "left.0"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("blocks.2", "there is no 'blocks.2': did you mean blocks.1, blocks.0"),
        ("frist", "did you mean first"),
        ("zzz", "there is no 'zzz': there is first, bn, relu1, depthwise"),
        ("never", "'never' is not called: there is first, bn, relu1, depthwise"),
        ("relu#3", "'relu#3' is not called: did you mean relu#2, relu, relu1#2"),
        ("relu#x", "there is no 'relu#x'"),
        ("blocks", "'blocks' is not called: did you mean blocks."),
    ],
)
def test_a_wrong_name_is_answered_with_the_right_ones(name: str, says: str) -> None:
    network, args, kwargs = NETWORKS["residual"]
    with pytest.raises(LayerError) as caught:
        layers.capture(network, name, args, kwargs)
    assert says in str(caught.value)


def test_the_input_is_taken_before_the_layers_own_hooks_change_it() -> None:
    network = nn.Sequential(nn.Linear(2, 2, bias=False))
    network[0].register_forward_pre_hook(lambda _, args: (args[0] + 1,))
    seen = layers.capture(network, "0", (torch.zeros(1, 2),), {})
    assert torch.equal(seen.args[0], torch.zeros(1, 2))


def test_no_except_clause_of_the_network_swallows_the_end_of_the_capture() -> None:
    class Careful(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.after = nn.Linear(2, 2), nn.Linear(2, 2)
            self.went_on = False

        def forward(self, x: Tensor) -> Tensor:
            with contextlib.suppress(Exception):
                x = self.inner(x)
            self.went_on = True
            return torch.as_tensor(self.after(x))

    careful = Careful()
    layers.capture(careful, "inner", (torch.randn(1, 2),), {})
    assert not careful.went_on


@pytest.mark.parametrize(("training", "rows"), [(True, 3), (False, 6)])
def test_the_input_is_that_of_the_mode(training: bool, rows: int) -> None:
    seen = layers.capture(Drops(), "last", (torch.randn(6, 4),), {}, training=training)
    assert seen.args[0].shape == (rows, 4)


def test_a_single_image_reaches_a_layer_behind_batch_norm_in_inference() -> None:
    network = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    assert layers.capture(network, "2", (torch.randn(1, 4),), {}, training=False).name == "2"
