"""Networks that are seldom met: each has its right figures, or one true line why it has none."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from bench.core.records import Measurement
from bench.core.subject import parse
from bench.engine.fork_server import ForkServer
from bench.worker import case_process
from bench.worker.checks import state
from bench.worker.device.device import open_device
from bench.worker.jobs import count_static_metrics
from bench.worker.jobs.prepare import make_step
from bench.worker.jobs.reference import of_layer
from bench.worker.model import inputs, layers, lazy, loss
from bench.worker.model.build import Prepared, build, give_weights, prepare
from bench.worker.model.step import Step, TrainingStep
from bench.worker.model.step_inputs import StepError
from tests.subjects import odd_layers
from tests.support.cases import case
from tests.whole.test_faults import ask, folders, started

HERE = "tests.subjects.odd_layers:"
CONV = 2 * 2 * 16 * 16 * 27 * 8  # two images (3, 16, 16), eight kernels of 3×3×3
INNER_CONV = 2 * 2 * 16 * 16 * 72 * 8
# process_peak_bytes: /proc may be closed; energy is none of a CPU's
KNOWN = {"parameters", "peak_bytes", "flops", "operators", "bytes_moved", "layout_flips"}


def prepared(name: str, shape: str, mode: str = "inference") -> tuple[Prepared, Step]:
    of = case(subject=HERE + name, input=shape, mode=mode, batch=2)
    made = prepare(of)
    return made, make_step(made, made.module, of, "cpu")


def found(
    name: str, shape: str, mode: str = "inference"
) -> tuple[dict[str, float], dict[str, str]]:
    made, step = prepared(name, shape, mode)
    of = case(subject=HERE + name, input=shape, mode=mode, batch=2)
    figures, problems = count_static_metrics.find(step, step, made, of, open_device("cpu"))
    problems.pop("process_peak_bytes", None)
    return figures, problems


def names(name: str, shape: str) -> list[tuple[str, str]]:
    module = build(parse(HERE + name))
    give_weights(module, shape)
    args, kwargs = inputs.make(shape, module, 2, torch.float32)
    return [(one.name, one.type) for one in layers.leaves(module, args, kwargs)]


@pytest.mark.parametrize("mode", ["inference", "training"])
@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("KeptTable", "16,8"),
        ("KeptOnItsClass", "8"),
        ("HookStore", "8"),
        ("LazyAux", "3,8,8"),
        ("Normed", "3,16,16"),
        ("Normed(old=True)", "3,16,16"),
        ("Parametrized", "6,8"),
        ("Queries", "10,16"),
        ("GraphBuffer", "6,8"),
        ("GraphBuffer('csr')", "6,8"),
        ("GraphInput", "own"),
        ("Packed", "own"),
        ("Checkpointed", "3,16,16"),
        ("ComputesAgain", "8"),
        ("ScriptInside", "16"),
        ("scripted", "16"),
        ("symbolic", "16"),
        ("Detector", "own"),
    ],
)
def test_nothing_of_them_is_unknown(name: str, shape: str, mode: str) -> None:
    odd_layers.TABLES.clear()
    odd_layers.KeptOnItsClass.table = None
    figures, problems = found(name, shape, mode)
    assert problems == {}
    assert set(figures) >= KNOWN


# --- state -----------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["inference", "training"])
def test_of_work_that_grows_from_call_to_call_no_number_of_operations_is_given(mode: str) -> None:
    figures, problems = found("Streaming", "1,32", mode)
    assert "flops" not in figures
    assert problems["flops"].startswith("FlopError: the work changes from call to call: ")
    assert figures["parameters"] == 2 * (32 * 32 + 32)


def test_state_that_keeps_its_graph_has_an_inference_and_no_second_training_step() -> None:
    figures, problems = found("KeepsState", "4,8")
    assert problems == {}
    assert figures["flops"] == 2 * (2 * 4) * (3 * 8 * 8 + 3 * 8 * 8)
    figures, problems = found("KeepsState", "4,8", "training")
    assert figures == {"parameters": 2 * 3 * 8 * (8 + 1)}
    assert all("backward through the graph a second time" in why for why in problems.values())
    assert set(problems) == KNOWN - {"parameters"}


@pytest.mark.parametrize(
    ("name", "shape", "where"),
    [
        ("KeepsState", "4,8", "state"),
        ("HookGraph", "8", "a hook of first"),
        ("MadeOnce", "8", "gate"),
        ("KeepsOnItsClass", "8", "KeepsOnItsClass.last"),
        ("KeepsInACell", "8", "part.past"),
    ],
)
def test_a_graph_that_is_kept_is_named_with_its_place_and_a_way_out(
    name: str, shape: str, where: str
) -> None:
    odd_layers.KeepsOnItsClass.last = None
    _, step = prepared(name, shape, "training")

    def train() -> None:
        for _ in range(3):
            step.prepare(1)
            step()

    with pytest.raises(StepError) as caught:
        train()
    odd_layers.KeepsOnItsClass.last = None
    status, reason = case_process.describe(caught.value)
    assert status == "unsupported"
    assert reason.startswith(
        f"training is not supported here: {where} holds a tensor with its graph, through which the "
        "next backward goes again; keep tensor.detach(), or compute it anew in each call (torch: "
    )


def test_a_mistake_of_the_forward_itself_is_left_in_torchs_words() -> None:
    class WritesWhatIsSaved(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(8, 8)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.fc(x).sigmoid()
            return torch.as_tensor(y.add_(1))

    step = TrainingStep(
        WritesWhatIsSaved().train(),
        (torch.ones(2, 8),),
        {},
        loss=loss.FixedGradient(scaled=False),
        device_type="cpu",
    )
    with pytest.raises(RuntimeError, match=r"^one of the variables needed"):
        step()


# --- lazy ------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["inference", "training"])
def test_a_lazy_layer_that_is_never_called_is_left_out_and_named(mode: str) -> None:
    figures, problems = found("LazyUnused", "8", mode)
    assert figures["parameters"] == 8 * 4 + 4
    assert figures["flops"] == (1 if mode == "inference" else 2) * 2 * 2 * 8 * 4
    assert problems == {
        "parameters": "no call reaches the lazy layer never, in eval or training mode, so its "
        "sizes are unknown: its parameters are left out of `parameters`, memory and training"
    }


def test_lazy_layers_that_training_alone_calls_are_the_same_in_both_modes() -> None:
    one, other = (
        prepared("LazyAux", "3,8,8", mode)[0].module for mode in ("inference", "training")
    )
    assert one.get_parameter("aux.0.weight").shape == (5, 6, 1, 1)
    for (name, a), b in zip(one.state_dict().items(), other.state_dict().values(), strict=True):
        assert torch.equal(a, b), name
    assert one.get_buffer("aux.1.running_mean").tolist() == [0.0] * 5
    assert one.get_buffer("aux.1.num_batches_tracked") == 0
    assert [one.training, other.training] == [False, True]


def test_a_lazy_layer_gets_its_sizes_where_eval_mode_is_refused() -> None:
    made, step = prepared("LazyOnlyInTraining", "8", "training")
    step()
    assert made.module.get_parameter("fc.weight").shape == (4, 8)


def test_of_two_tied_lazy_layers_the_one_that_is_not_called_lacks_its_bias() -> None:
    figures, problems = found("LazyTied", "8", "training")
    assert figures["parameters"] == 8 * 8 + 8
    assert problems["parameters"].startswith("no call reaches the lazy layer second, ")


def test_a_lazy_layer_that_a_later_call_reaches_is_named_there() -> None:
    _, step = prepared("LazyLater", "8")
    step()  # the third call: two have looked for the sizes
    with pytest.raises(lazy.LazyError, match="the lazy layer later has no sizes: neither a call"):
        step()


def test_a_forward_that_fails_in_both_modes_says_what_it_said_first() -> None:
    class Fails(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.LazyLinear(2)

        def forward(self) -> None:
            raise ValueError("training" if self.training else "eval")

    with pytest.raises(ValueError, match="eval"):
        lazy.give_sizes(module := Fails(), lambda: module())


# --- parametrized ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["Normed", "Normed(old=True)"])
def test_a_normed_layer_is_a_layer_with_its_norm_in_it(name: str) -> None:
    assert names(name, "3,16,16") == [("c1", "Conv2d"), ("c2", "Conv2d"), ("fc", "Linear")]
    figures, _ = found(f"{name}/c1", "3,16,16", "training")
    assert figures["parameters"] == 8 + 8 * 27 + 8
    assert figures["flops:forward"] == CONV
    assert figures["flops:backward"] == CONV  # of the weights alone
    figures, _ = found(f"{name}/c2", "3,16,16")
    assert figures["flops"] == INNER_CONV + 2 * 8 * 72 + 2 * 8  # and σ = uᵀWv


def test_equal_normed_layers_are_one_layer_called_twice() -> None:
    make: Any = nn.utils.parametrizations.weight_norm
    net = nn.Sequential(make(nn.Linear(4, 4)), make(nn.Linear(4, 4)))
    first, *others = layers.leaves(
        net.requires_grad_(), (torch.zeros(2, 4, requires_grad=True),), {}
    )
    assert (first.name, first.same_as, others) == ("0", ("1",), [])


def test_what_makes_a_weight_is_no_layer_and_may_be_one_elsewhere() -> None:
    assert names("Parametrized", "6,8") == [
        ("rnn", "LSTM"),
        ("table", "Embedding"),
        ("square", "Linear"),
        ("made", "Linear"),
        ("shared", "Linear"),
    ]
    figures, _ = found("Parametrized/made", "6,8")
    assert figures["flops"] == 2 * (2 * 6) * 8 * 8 + 2 * 8 * 8 * 8  # and the weight's own product
    figures, _ = found("Parametrized/rnn", "6,8")
    assert figures["flops"] == 2 * (2 * 6) * (4 * 8 * 8 + 4 * 8 * 8)


def test_the_layouts_and_dtypes_of_normed_layers_are_looked_at_without_a_step_of_the_norm() -> None:
    norms = []
    for look in (True, False):
        made, step = prepared("Normed", "3,16,16", "training")
        if look:
            assert state.layer_state(made.module, step) == {
                "output_dtypes": {"float32": {"share": 1.0, "first": "c1"}},
                "convolution_layouts": {"contiguous": {"share": 1.0, "first": "c1"}},
            }
        else:
            step()
        norms.append(made.module.get_buffer("c2.parametrizations.weight.0._u"))
    assert torch.equal(*norms)


def test_a_normed_layer_counts_as_much_as_a_plain_one_among_the_multiply_adds() -> None:
    norm: Any = nn.utils.parametrizations.spectral_norm
    for make, shape in (
        (lambda: nn.Conv2d(4, 8, 3, groups=2), (2, 4, 6, 6)),
        (lambda: nn.ConvTranspose2d(4, 8, 3), (2, 4, 6, 6)),
        (lambda: nn.Linear(4, 8), (2, 4)),
    ):
        image = torch.zeros(shape)
        work = [state._multiply_adds(one, one(image)) for one in (make(), norm(make()))]
        assert work[0] == work[1] > 0


# --- queries, sparse, nested, packed ---------------------------------------------------------


def test_a_parameter_that_is_handed_to_a_layer_has_its_flops_in_inference_too() -> None:
    expected = 2 * 4 * 16 * 16 + 2 * (2 * 2 * 4 * 16 * 10)
    for mode, name in (("inference", "flops"), ("training", "flops:forward")):
        assert found("Queries", "10,16", mode)[0][name] == expected


@pytest.mark.parametrize("layout", ["coo", "csr", "csc"])
def test_a_product_with_a_sparse_matrix_uses_each_of_its_numbers_once_a_column(layout: str) -> None:
    figures, problems = found(f"GraphBuffer({layout!r})", "6,8")
    assert problems == {}
    assert figures["flops"] == 2 * (2 * 6) * 8 * 8 + 2 * 11 * (2 * 8)
    places = {"coo": 2 * 11, "csr": 7 + 11, "csc": 7 + 11}[layout]
    least = (2 * 6 * 8) * 4 * 2 + (64 + 8) * 4 + 11 * 4 + places * 8
    assert least <= figures["peak_bytes"] <= 3 * least


def test_the_backward_of_a_sparse_product_takes_as_much_as_its_forward() -> None:
    figures, _ = found("GraphBuffer", "6,8", "training")
    assert figures["flops:backward"] == figures["flops:forward"]


def test_a_sparse_argument_moves_its_numbers_and_their_places() -> None:
    figures, _ = found("GraphInput", "own")
    x, out, weights, links = 12 * 8 * 4, 12 * 4 * 4, 36 * 4, 12 * 4 + 2 * 12 * 8
    assert figures["bytes_moved"] == x + out + weights + links
    assert figures["flops"] == 2 * 12 * 8 * 4 + 2 * 12 * 4


def test_a_product_of_two_sparse_matrices_is_not_counted_as_nothing() -> None:
    class Squares(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.as_tensor(torch.sparse.mm(x, x).to_dense())

    one = torch.eye(4).to_sparse()
    made = Prepared(
        module=Squares().eval(),
        args=(one,),
        kwargs={},
        loss=loss.FixedGradient(scaled=False),
        restore=False,
    )
    of = case(batch=1)
    step = make_step(made, made.module, of, "cpu")
    figures, problems = count_static_metrics.find(step, step, made, of, open_device("cpu"))
    assert "sparse" in problems["flops"]
    assert set(figures) >= KNOWN - {"flops"}


def test_nested_sequences_have_the_figures_of_their_tokens() -> None:
    figures, problems = found("Nested", "own")
    assert problems == {}
    assert figures["flops"] == 2 * (3 + 4) * 8 * 4
    assert figures["parameters"] == 36
    given, out, weights = 7 * 8 * 4, 7 * 4 * 4, 36 * 4
    offsets = 3 * 8
    assert figures["bytes_moved"] == given + out + weights + 2 * offsets


@pytest.mark.parametrize("mode", ["inference", "training"])
def test_a_packed_sequence_has_the_flops_of_its_tokens(mode: str) -> None:
    figures, _ = found("Packed", "own", mode)
    name = "flops" if mode == "inference" else "flops:forward"
    assert figures[name] == 2 * (2 * 5) * (4 * 8 * 8 + 4 * 8 * 8)


# --- computed again in the backward ----------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "layer", "shape"),
    [
        ("Checkpointed", "one.0", "3,16,16"),
        ("Checkpointed", "one.1", "3,16,16"),
        ("Checkpointed", "one", "3,16,16"),
        ("Checkpointed", "two", "3,16,16"),
        ("Checkpointed", "two#2", "3,16,16"),
        ("ComputesAgain", "inner", "8"),
    ],
)
def test_a_layer_that_is_computed_again_in_the_backward_trains_as_it_does_there(
    name: str, layer: str, shape: str
) -> None:
    made, step = prepared(f"{name}/{layer}", shape, "training")
    assert made.layer == layer
    assert made.args[0].requires_grad
    step()
    figures, problems = found(f"{name}/{layer}", shape, "training")
    assert problems == {}
    assert figures["flops:backward"] == 2 * figures["flops:forward"]
    assert all(one.grad is None for one in made.module.parameters())
    evaluated, _ = prepared(f"{name}/{layer}", shape)
    assert not evaluated.args[0].requires_grad


def test_the_second_call_of_a_layer_under_a_checkpoint_is_given_the_seconds_input() -> None:
    whole, _ = prepared("Checkpointed", "3,16,16", "training")
    first, second = (
        prepared(f"Checkpointed/{name}", "3,16,16", "training")[0] for name in ("two", "two#2")
    )
    with torch.no_grad():
        assert torch.allclose(whole.module.get_submodule("two")(first.args[0]), second.args[0])


def test_the_layers_under_either_kind_of_checkpoint_train_alike() -> None:
    for layer in ("stem", "one.0", "one.1", "two", "fc"):
        one, other = (
            found(f"Checkpointed({kind})/{layer}", "3,16,16", "training")[0]
            for kind in ("reentrant=True", "reentrant=False")
        )
        assert one["flops"] == other["flops"], layer
        assert one["bytes_moved"] == other["bytes_moved"], layer


def test_a_capture_leaves_no_gradient_and_no_statistics_behind() -> None:
    net = odd_layers.Checkpointed().train()
    image = torch.randn(2, 3, 16, 16)

    def backward(output: torch.Tensor) -> None:
        output.sum().backward()

    seen = layers.capture(net, "one.0", (image,), {}, backward=backward)
    assert seen.with_gradients
    assert all(one.grad is None for one in net.parameters())
    assert net.get_buffer("one.1.num_batches_tracked") == 0


# --- scripted, traced, compiled, symbolic ----------------------------------------------------


def test_a_part_in_torchscript_is_one_layer_and_equal_ones_are_measured_once() -> None:
    assert names("ScriptInside", "16") == [
        ("pre", "Linear"),
        ("parts.0", "RecursiveScriptModule"),
        ("traced", "TopLevelTracedModule"),
    ]
    figures, problems = found("ScriptInside/parts.1", "16", "training")
    assert problems == {}
    assert figures["flops"] == 3 * (2 * 2 * 16 * 16)
    assert figures["parameters"] == 16 * 17


def test_a_network_in_torchscript_has_no_layers_and_all_figures() -> None:
    # TorchScript would keep what other calls have shown
    with torch.jit.optimized_execution(False):  # type: ignore[attr-defined]
        assert names("scripted", "16") == []
        figures, problems = found("scripted", "16")
    assert problems == {}
    assert figures["bytes_moved"] == 2 * (2 * 16 * 4) + 16 * 17 * 4


def test_layers_inside_a_part_that_the_network_compiles_are_seen() -> None:
    assert names("CompiledPart", "16") == [("pre", "Linear"), ("inner.fc", "Linear")]
    figures, _ = found("CompiledPart/inner.fc", "16", "training")
    assert figures["flops"] == 3 * (2 * 2 * 16 * 16)


def test_a_graph_of_torch_fx_has_the_layers_of_its_module() -> None:
    assert names("symbolic", "16") == [("0.fc", "Linear"), ("1", "Linear")]


def test_weights_that_are_packed_are_unknown_and_not_none() -> None:
    assert names("quantised", "16") == [("0", "Linear"), ("1", "ReLU"), ("2", "Linear")]
    figures, problems = found("quantised", "16")
    packed = "torch keeps the weights of 0, 2 packed (a quantised layer), in memory that cannot be"
    for name in ("parameters", "peak_bytes", "bytes_moved"):
        assert problems.pop(name) == f"{packed} asked for"
    assert problems == {
        "flops": "FlopError: the work of quantized::linear_dynamic is not counted by torch"
    }
    assert set(figures) - {"process_peak_bytes"} == {"operators", "layout_flips"}
    figures, problems = found("quantised/1", "16")
    assert (figures["parameters"], problems) == (0, {})


# --- the reference ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("Normed/c1", "3,16,16"),
        ("Normed/c2", "3,16,16"),
        ("Normed(old=True)/c1", "3,16,16"),
        ("Checkpointed/one.0", "3,16,16"),
        ("ScriptInside/parts.0", "16"),
    ],
)
def test_such_layers_have_a_reference_in_float64(name: str, shape: str) -> None:
    made, _ = prepared(name, shape, "training")
    of = case(subject=HERE + name, input=shape, mode="training", batch=2)
    against = of_layer(of, dataclasses.replace(made))
    assert "gradients" in against.values.groups


# --- measured, in processes of their own -----------------------------------------------------


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForkServer]:
    one = started(tmp_path_factory.mktemp("session"), "tests.subjects.odd_layers")
    yield one
    one.close()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "shape", "mode"),
    [
        ("KeptTable", "16,8", "inference"),
        ("LazyUnused", "8", "inference"),
        ("LazyAux", "3,8,8", "training"),
        ("Normed/c1", "3,16,16", "training"),
        ("Checkpointed/one.0", "3,16,16", "training"),
        ("ScriptInside/parts.0", "16", "training"),
        ("Queries", "10,16", "inference"),
        ("GraphInput", "own", "inference"),
    ],
)
def test_they_are_measured_from_beginning_to_end(
    session: ForkServer, tmp_path: Path, name: str, shape: str, mode: str
) -> None:
    entry = ask(session, HERE + name, folders(tmp_path), 120.0, input=shape, mode=mode)
    assert isinstance(entry, Measurement), entry
    assert {one.phase for one in entry.samples} >= {"forward"}
