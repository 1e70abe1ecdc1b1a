"""Memory over time: every byte has a use, and the peak is the one that is reported."""

import pytest
import torch

from bench.worker.device.device import CpuDevice
from bench.worker.jobs import count_static_metrics
from bench.worker.jobs.prepare import make_step
from bench.worker.metrics import flops
from bench.worker.model.build import Prepared, prepare
from bench.worker.model.step import Step
from bench.worker.profiler import memory_trace
from bench.worker.profiler.memory_trace import CATEGORIES, AddressLabel, Block, Change, Usage, usage
from tests.support.cases import case

CPU = torch.device("cpu")


def made(time: int, address: int, size: int, phase: str = "forward") -> Change:
    return Change(time_ns=time, address=address, bytes=size, row="conv", phase=phase)


def series(found: Usage) -> dict[str, list[int]]:
    return {name: list(values) for name, values in found.bytes_by_category.items() if any(values)}


def test_what_was_alive_before_and_what_changes_add_up_at_each_moment() -> None:
    before = {1: Block(100, "parameters", "w")}
    found = usage(before, [made(10, 7, 50), made(20, 7, -50)], [], 0)
    assert series(found) == {"parameters": [100, 100, 100], "temporary": [0, 50, 0]}
    assert (list(found.times_ns), found.peak, found.peak_bytes) == ([0, 10, 20], 1, 150)


def test_an_allocation_is_for_what_it_was_seen_as_from_its_beginning_on() -> None:
    found = usage(
        {}, [made(10, 7, 50), made(20, 8, 5)], [AddressLabel(15, 7, "activations", "relu")], 0
    )
    assert series(found) == {"activations": [0, 50, 50], "temporary": [0, 0, 5]}
    assert [block.name for block in found.alive] == ["relu", "conv"]


def test_a_sight_is_of_what_lies_at_the_address_at_that_time() -> None:
    """The same address before and after: another tensor each."""
    changes = [made(10, 7, 50), made(20, 7, -50), made(30, 7, 60), made(40, 7, -60)]
    found = usage({}, changes, [AddressLabel(35, 7, "activations", "relu")], 0)
    assert series(found) == {"temporary": [0, 50, 0, 0, 0], "activations": [0, 0, 0, 60, 0]}


def test_memory_that_becomes_a_gradient_is_one() -> None:
    labels = [
        AddressLabel(11, 7, "activations", "fc"),
        AddressLabel(15, 7, "gradients", "fc.weight"),
    ]
    assert series(usage({}, [made(10, 7, 50)], labels, 0)) == {"gradients": [0, 50]}


def test_what_the_optimizer_allocates_is_the_optimizers() -> None:
    assert series(usage({}, [made(10, 7, 50, "optimizer")], [], 0)) == {"optimizer": [0, 50]}


def test_a_release_of_what_was_alive_before_is_taken_from_its_use() -> None:
    found = usage({7: Block(50, "inputs", "x")}, [made(10, 7, -50), made(11, 9, -5)], [], 0)
    assert series(found) == {"inputs": [50, 0, 0]}


def test_the_first_of_equal_peaks_is_marked() -> None:
    changes = [made(10, 7, 50), made(20, 7, -50), made(30, 7, 50)]
    assert usage({}, changes, [], 0).peak == 1


def test_what_is_alive_at_the_last_and_highest_of_many_peaks_is_listed() -> None:
    before = {1: Block(100, "parameters", "w"), 2: Block(30, "inputs", "x")}
    changes = [made(10, 7, 50), made(20, 2, -30), made(30, 8, 40), made(40, 7, -50)]
    found = usage(before, [*changes, made(50, 9, 60), made(60, 8, -40)], [], 0)
    assert [block.bytes for block in found.alive] == [100, 60, 40]
    assert (found.peak, found.peak_bytes) == (5, 200)


def test_an_operator_allocates_by_itself_and_with_what_it_calls() -> None:
    operators = ("aten::empty", "aten::add", "aten::add")
    change = Change(time_ns=1, address=7, bytes=50, operators=operators)
    found = usage({}, [change, made(20, 7, -50)], [], 0)
    assert found.allocated == {"aten::empty": (50, 50), "aten::add": (0, 50)}
    assert usage({}, [change], [], 0).alive[0].operator == "aten::add"


def test_an_operator_without_a_namespace_has_the_memory_of_those_that_it_calls() -> None:
    """A node of autograd whose forward has several overloads."""
    step, prepared = stepped(
        subject="tests.subjects.networks:ResNet", input="3,32,32", batch=2, mode="training"
    )
    found = memory_trace.record(step, prepared, prepared.module, CPU).usage
    assert found.allocated["MeanBackward1"][1] > 0
    assert not any(name.startswith(("bench ", "layer ")) for name in found.allocated)


def stepped(**changes: str | int) -> tuple[Step, Prepared]:
    chosen = case(**changes)
    prepared = prepare(chosen)
    step = make_step(prepared, prepared.module, chosen, "cpu")
    for _ in range(2):
        step.prepare(1)
        step()
    return step, prepared


@pytest.mark.parametrize("mode", ["inference", "training"])
def test_the_peak_of_the_convnet_is_the_one_that_a_run_reports(mode: str) -> None:
    step, prepared = stepped(mode=mode)
    found = memory_trace.record(step, prepared, prepared.module, CPU).usage
    reported, problems = count_static_metrics.find(
        step, step, prepared, case(mode=mode), CpuDevice()
    )
    assert not set(problems) & {"peak_bytes"}
    assert found.peak_bytes == pytest.approx(reported["peak_bytes"], rel=0.01)


def test_of_a_convnet_in_training_parameters_gradients_and_inputs_are_exact() -> None:
    step, prepared = stepped(mode="training", batch=2)
    found = memory_trace.record(step, prepared, prepared.module, CPU).usage
    by = found.bytes_by_category
    weights = sum(one.nbytes for one in prepared.module.parameters())
    assert set(by["parameters"]) == {weights}
    assert max(by["gradients"]) == weights
    assert by["gradients"][0] == by["gradients"][-1] == 0
    assert set(by["buffers"]) == {sum(one.nbytes for one in prepared.module.buffers())}
    assert set(by["inputs"]) == {2 * 3 * 224 * 224 * 4 + 2 * 8}  # and the classes, int64
    assert set(by["optimizer"]) == {0}
    assert tuple(by) == CATEGORIES


def test_activations_grow_in_the_forward_and_are_gone_after_the_backward() -> None:
    step, prepared = stepped(mode="training", batch=2)
    found = memory_trace.record(step, prepared, prepared.module, CPU).usage
    kept = found.bytes_by_category["activations"]
    assert kept[0] == 0
    assert max(kept) > 2 * 32 * 55 * 55 * 4  # of conv1 alone
    assert kept[-1] < max(kept) / 100  # the output is left
    assert {"conv1", "conv2"} & {one.name for one in found.alive if one.category == "activations"}


def test_what_the_backward_needs_is_an_activation_though_no_layer_puts_it_out() -> None:
    step, prepared = stepped(
        subject="tests.subjects.profiled:KeepsItsOwn", input="4", mode="training"
    )
    found = memory_trace.record(step, prepared, prepared.module, CPU).usage
    assert max(found.bytes_by_category["activations"]) >= 4000


def test_the_values_of_a_sparse_gradient_are_a_gradient() -> None:
    subject = "tests.subjects.truths:SparseGradient"
    step, prepared = stepped(subject=subject, input="3:int64<10", batch=2, mode="training")
    found = memory_trace.record(step, prepared, prepared.module, CPU).usage
    looked_up = 2 * 3  # each a row of the table; its indices are the input's own
    assert max(found.bytes_by_category["gradients"]) == looked_up * 4 * 4
    held_by_the_loss = 2 * 4 * 4
    assert set(found.bytes_by_category["inputs"]) == {looked_up * 8 + held_by_the_loss}


@pytest.mark.filterwarnings("ignore:Sparse")  # torch warns that they are new, and unchecked
@pytest.mark.parametrize("layout", ["coo", "csr", "csc"])
def test_of_a_sparse_buffer_its_indices_and_values_are_alive(layout: str) -> None:
    prepared = prepare(case(subject="tests.subjects.models:Residual", input="3,8,8", batch=2))
    places, ends, values = torch.arange(4), torch.arange(5), torch.ones(4)
    sparse = {
        "coo": torch.sparse_coo_tensor(torch.stack([places, places]), values, (4, 4)),
        "csr": torch.sparse_csr_tensor(ends, places, values, (4, 4)),
        "csc": torch.sparse_csc_tensor(ends, places, values, (4, 4)),
    }
    prepared.module.register_buffer("graph", sparse[layout])
    step = make_step(prepared, prepared.module, case(), "cpu")
    before = memory_trace.alive_before(step, prepared, CPU).values()
    sizes = sorted(block.bytes for block in before if block.name == "graph")
    assert sizes == ([4 * 4, 2 * 4 * 8] if layout == "coo" else [4 * 4, 4 * 8, 5 * 8])


def test_tied_weights_are_held_once() -> None:
    step, prepared = stepped(
        subject="tests.subjects.networks:LanguageModel", input="own", mode="training"
    )
    found = memory_trace.record(step, prepared, prepared.module, CPU).usage
    assert set(found.bytes_by_category["parameters"]) == {
        sum(one.nbytes for one in prepared.module.parameters())
    }
    named = [one.name for one in found.alive if one.category == "gradients"]
    assert len(named) == len(set(named))


def test_flops_of_all_operators_together_are_those_of_the_case() -> None:
    step, _ = stepped(mode="training", batch=2)
    found, _ = flops.by_operator(step)
    assert sum(found.values()) == flops.count(step).total
    assert found["aten::convolution_backward"] > found["aten::convolution"]
