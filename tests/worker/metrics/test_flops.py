"""FLOPs and operators, against what can be counted by hand."""

from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils import flop_counter

from bench.worker.metrics import flops
from bench.worker.metrics.flops import FlopError
from bench.worker.model.build import prepare
from bench.worker.model.loss import FixedGradient
from bench.worker.model.step import InferenceStep, Step, TrainingStep

from .cases import case
from .models import Recurrent


def inference(module: nn.Module, *args: Any) -> Step:
    return InferenceStep(module.eval(), args, {}, device_type="cpu")


def training(module: nn.Module, *args: Any) -> Step:
    return TrainingStep(
        module.train(), args, {}, loss=FixedGradient(scaled=False), device_type="cpu"
    )


LINEAR = 2 * 5 * 8 * 3  # a multiply and an add are two; (5, 8) times (8, 3)


def test_a_matrix_product_is_two_operations_a_number() -> None:
    assert flops.count(inference(nn.Linear(8, 3), torch.randn(5, 8))).total == LINEAR


@pytest.mark.parametrize(
    ("operator", "one", "other", "products"),
    [
        (torch.matmul, (5, 8), (8, 3), 5 * 8 * 3),
        (torch.matmul, (2, 5, 8), (2, 8, 3), 2 * 5 * 8 * 3),
        (torch.matmul, (5, 8), (8,), 5 * 8),
        (torch.vdot, (8,), (8,), 8),
        (lambda a, b: torch.einsum("nif,ikf->nkf", a, b), (5, 8, 9), (8, 3, 9), 5 * 8 * 3 * 9),
        (nn.functional.linear, (5, 8), (3, 8), 5 * 8 * 3),
    ],
)
def test_a_product_of_complex_numbers_is_four_real_products_and_four_additions(
    operator: Any, one: tuple[int, ...], other: tuple[int, ...], products: int
) -> None:
    class Product(nn.Module):
        def forward(self, a: Tensor, b: Tensor) -> Any:
            return operator(a, b)

    for dtype, each in ((torch.complex64, 8), (torch.float32, 2)):
        given = [torch.randn(shape, dtype=dtype) for shape in (one, other)]
        assert flops.count(inference(Product(), *given)).total == each * products


@pytest.mark.parametrize(
    ("layer", "shape", "times"),
    [
        (nn.Linear, (5, 8), 4),
        # torch makes three real ones of it, by Gauss's rule (torch 2.13, Convolution.cpp)
        (partial(nn.Conv2d, kernel_size=1), (5, 8, 3, 3), 3),
    ],
)
def test_a_complex_layer_takes_as_many_times_a_real_one_in_each_phase(
    layer: Any, shape: tuple[int, ...], times: int
) -> None:
    phases = []
    for dtype in (torch.float32, torch.complex64):
        given = torch.randn(shape, dtype=dtype, requires_grad=True)
        phases.append(flops.count(training(layer(8, 3, dtype=dtype), given)).by_phase)
    real, complex_ = phases
    assert real["forward"] > 0
    assert complex_ == {name: times * count for name, count in real.items()}


def test_training_is_told_apart_by_phase() -> None:
    first = flops.count(training(nn.Linear(8, 3), torch.randn(5, 8)))
    assert first.by_phase == {"forward": LINEAR, "backward": LINEAR, "optimizer": 0}
    inner = flops.count(training(nn.Linear(8, 3), torch.randn(5, 8, requires_grad=True)))
    assert inner.by_phase["backward"] == 2 * LINEAR  # of the weights and of the input
    assert inner.total == 3 * LINEAR


def test_a_convolution_is_counted() -> None:
    found = flops.count(inference(nn.Conv2d(3, 4, 3, groups=1), torch.randn(2, 3, 6, 6)))
    assert found.total == 2 * 2 * 4 * 4 * 4 * 3 * 3 * 3


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("kind", [nn.Conv2d, nn.ConvTranspose2d])
def test_each_gradient_of_a_grouped_convolution_takes_as_much_as_its_forward(
    kind: type[nn.Module], groups: int
) -> None:
    layer = kind(4, 8, 3, groups=groups)
    found = flops.count(training(layer, torch.randn(2, 4, 6, 6, requires_grad=True)))
    assert found.by_phase["backward"] == 2 * found.by_phase["forward"]
    first = flops.count(training(layer, torch.randn(2, 4, 6, 6)))  # of the weights alone
    assert first.by_phase["backward"] == first.by_phase["forward"]


def test_a_layer_without_products_has_none() -> None:
    assert flops.count(training(nn.BatchNorm2d(3), torch.randn(2, 3, 4, 4))).total == 0


def test_the_convnet_takes_4_712_484_864_at_32_images() -> None:
    # counted at 1 image: nothing in it depends on the batch, so 32 images take 32 times as many
    prepared = prepare(case(mode="training", batch=2))
    step = TrainingStep(prepared.module, prepared.args, {}, loss=prepared.loss, device_type="cpu")
    found = flops.count(step)
    assert found.total * 16 == 4_712_484_864
    assert found.by_phase["optimizer"] == 0
    evaluated = InferenceStep(prepared.module.eval(), prepared.args, {}, device_type="cpu")
    assert flops.count(evaluated).total == found.by_phase["forward"]


@pytest.mark.parametrize("make", [inference, training])
def test_a_recurrent_layer_is_not_taken_for_free(make: Any) -> None:
    found = flops.count(make(Recurrent(), torch.randn(2, 5, 6)))
    # two calls of the LSTM: five steps of 4 gates, from input and from state; and the last layer
    forward = 2 * (2 * 2 * 5 * 24 * (6 + 6)) + 2 * 2 * 6 * 3
    assert found.by_phase["forward"] == forward


@pytest.mark.parametrize("make", [inference, training])
@pytest.mark.parametrize(
    ("layer", "gates", "shape", "options"),
    [
        (nn.LSTM, 4, (5, 2, 6), {}),
        (nn.LSTM, 4, (5, 6), {}),  # one sequence alone
        (nn.LSTM, 4, (5, 2, 6), {"bias": False}),
        (nn.GRU, 3, (2, 5, 6), {"batch_first": True}),
        (nn.RNN, 1, (5, 2, 6), {}),
        (nn.RNN, 1, (5, 2, 6), {"nonlinearity": "relu"}),
    ],
)
def test_each_token_meets_each_weight_of_a_recurrent_layer_once(
    make: Any, layer: Any, gates: int, shape: tuple[int, ...], options: dict[str, Any]
) -> None:
    found = flops.count(make(layer(6, 4, **options), torch.randn(shape)))
    tokens = 5 if len(shape) == 2 else 10
    assert found.by_phase["forward"] == 2 * tokens * gates * 4 * (6 + 4)


@pytest.mark.parametrize("make", [inference, training])
def test_directions_layers_and_projections_of_an_lstm_are_counted(make: Any) -> None:
    layer = nn.LSTM(6, 4, num_layers=2, bidirectional=True, proj_size=3)
    weights = sum(one.numel() for one in layer.parameters() if one.ndim == 2)
    assert weights == 2 * (16 * 6 + 16 * 3 + 3 * 4) + 2 * (16 * 6 + 16 * 3 + 3 * 4)
    found = flops.count(make(layer, torch.randn(5, 2, 6)))
    assert found.by_phase["forward"] == 2 * 10 * weights


@pytest.mark.parametrize("make", [inference, training])
def test_a_state_that_is_handed_over_changes_no_count(make: Any) -> None:
    class Continues(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm, self.gru = nn.LSTM(6, 6), nn.GRU(6, 6)

        def forward(self, x: Tensor) -> Tensor:
            x, state = self.lstm(x)
            x, state = self.lstm(x, hx=state)
            return torch.as_tensor(self.gru(x, state[0])[0])

    found = flops.count(make(Continues(), torch.randn(5, 2, 6)))
    assert found.by_phase["forward"] == 2 * 10 * (24 + 24 + 18) * (6 + 6)


def test_work_that_random_numbers_decide_has_no_count() -> None:
    class Sometimes(nn.Module):
        calls = 0

        def forward(self, x: Tensor) -> Tensor:
            self.calls += 1
            return x @ x if self.calls % 2 else x

    with pytest.raises(FlopError, match="changes from call to call: 54 operations in one, 0 in"):
        flops.count(inference(Sometimes(), torch.randn(3, 3)))


def test_a_subjects_own_operator_with_a_formula_of_its_own_is_counted() -> None:
    @torch.library.custom_op("benchtest::known", mutates_args=())
    def known(x: Tensor) -> Tensor:
        return x @ x

    packet = torch.ops.benchtest.known
    flop_counter.register_flop_formula(packet)(lambda shape, **_: 2 * shape[0] ** 3)
    try:

        class Custom(nn.Module):
            def forward(self, x: Tensor) -> Tensor:
                return torch.as_tensor(known(x))

        assert flops.count(inference(Custom(), torch.randn(3, 3))).total == 2 * 27
    finally:
        flop_counter.flop_registry.pop(packet)


@pytest.mark.parametrize("make", [inference, training])
def test_attention_is_not_taken_for_free(make: Any) -> None:
    class SelfAttention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.MultiheadAttention(8, 2, batch_first=True)

        def forward(self, x: Tensor) -> Tensor:
            return torch.as_tensor(self.inner(x, x, x, need_weights=False)[0])

    found = flops.count(make(SelfAttention(), torch.randn(2, 5, 8)))
    projections = 2 * (2 * 5) * 8 * (3 * 8 + 8)
    products = 2 * (2 * 2) * (5 * 4 * 5) * 2
    assert found.by_phase["forward"] == projections + products


def test_a_vector_product_is_counted_too() -> None:
    class Vector(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.as_tensor(x @ x[0])

    assert flops.count(inference(Vector(), torch.randn(3, 4))).total == 24


def test_an_operator_nobody_knows_makes_the_count_unknown() -> None:
    @torch.library.custom_op("benchtest::hidden", mutates_args=())
    def hidden(x: Tensor) -> Tensor:
        return x @ x

    class Custom(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.as_tensor(hidden(x))

    with pytest.raises(FlopError, match="benchtest::hidden"):
        flops.count(inference(Custom(), torch.randn(3, 3)))


def test_operators_are_counted_as_dispatched() -> None:
    x = torch.randn(5, 8)
    assert flops.operators(inference(nn.Sequential(nn.ReLU(), nn.ReLU()), x)) == {"aten::relu": 2}
    names = flops.operators(training(nn.Linear(8, 3), x))
    assert names["aten::addmm"] == 1
    assert names["aten::mm"] == 1


def test_restoring_the_input_is_no_operator_of_the_call() -> None:
    relu = nn.ReLU(inplace=True).eval()
    step = InferenceStep(relu, (torch.randn(3),), {}, device_type="cpu", restore=True)
    assert flops.operators(step) == {"aten::relu_": 1}


# --- by operator -----------------------------------------------------------------------------


def test_flops_of_all_operators_together_are_those_of_the_call() -> None:
    step = training(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()), torch.randn(2, 3, 6, 6))
    found, hidden = flops.by_operator(step)
    once = 2 * 2 * 4 * 4 * 4 * 3 * 3 * 3
    assert found == {"aten::convolution": once, "aten::convolution_backward": once}
    assert (sum(found.values()), hidden) == (flops.count(step).total, [])


@pytest.mark.parametrize("make", [inference, training])
def test_an_operator_that_hides_its_work_takes_the_flops_of_no_other(make: Any) -> None:
    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(8, 8)

        def forward(self, x: Tensor) -> Tensor:
            y = self.inner(x)
            return nn.functional.scaled_dot_product_attention(y, y, y)

    found, hidden = flops.by_operator(make(Attention(), torch.randn(2, 2, 5, 8)))
    fused = "aten::_scaled_dot_product_flash_attention_for_cpu"
    assert hidden == ([fused] if make is inference else [fused, f"{fused}_backward"])
    product = 2 * (2 * 2 * 5) * 8 * 8
    assert {one for one in found.values() if one} == {product}
    assert not set(found) & set(hidden)


@pytest.mark.parametrize(
    ("module", "hiding"),
    [
        (nn.LSTM(6, 4), "aten::lstm"),
        (nn.TransformerEncoderLayer(8, 2, 16, 0.0, batch_first=True), "aten::_transformer_encode"),
    ],
)
def test_the_head_keeps_its_flops_behind_a_fused_layer(module: nn.Module, hiding: str) -> None:
    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.head = module, nn.LazyLinear(3)

        def forward(self, x: Tensor) -> Tensor:
            y = self.body(x)
            return torch.as_tensor(self.head(y[0] if isinstance(y, tuple) else y))

    width, out = (6, 4) if isinstance(module, nn.LSTM) else (8, 8)
    found, hidden = flops.by_operator(inference(Network(), torch.randn(5, 2, width)))
    assert [name[: len(hiding)] for name in hidden] == [hiding]
    assert sum(found.values()) == 2 * (5 * 2) * out * 3
