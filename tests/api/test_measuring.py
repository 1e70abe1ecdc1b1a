"""`bench.measure`: figures of a call in this process, which is left as it was."""

import asyncio
import threading
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import bench
from bench.api.inputs import InputError
from bench.api.measuring import Measured
from bench.api.session import SessionError
from bench.api.settings import SettingError
from tests.api.models import Restless, images, restless, small
from tests.api.state import unchanged

QUICK: dict[str, Any] = {"samples_s": 0.002, "warmup_s": 0.0}


@pytest.mark.parametrize("mode", ["inference", "training"])
def test_a_measurement_leaves_model_and_process_as_they_were(mode: str) -> None:
    model, x = restless(), torch.randn(6, 4)
    found = unchanged(lambda: bench.measure(model, x, mode=mode, **QUICK), model)
    assert isinstance(found, Measured)
    assert found.mode == mode
    assert model.training


def test_the_settings_of_a_measurement_do_not_outlive_it() -> None:
    model, x = images(), torch.randn(2, 3, 8, 8)
    asked: dict[str, Any] = {"mode": "training", "memory_format": "channels_last"}
    asked |= {"amp": "bfloat16", "threads": 1 if torch.get_num_threads() > 1 else 2}
    found = unchanged(lambda: bench.measure(model, x, **asked, **QUICK), model)
    assert isinstance(found, Measured)
    assert found.settings["memory_format"] == "channels_last"


class Cached(nn.Module):
    """Writes to a part of a buffer, and reads the whole."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("cache", torch.zeros(2, 4))
        self.cache: Tensor
        self.keys = self.cache[0]

    def forward(self, x: Tensor) -> Tensor:
        self.keys.copy_(x)
        return self.cache.sum(0)


def test_tensors_that_share_memory_share_it_in_the_measurement_as_well() -> None:
    model, x, seen = Cached(), torch.ones(4), list[float]()

    def call(x: Tensor) -> Tensor:
        out: Tensor = model(x)
        seen.append(out.sum().item())
        return out

    unchanged(lambda: bench.measure(call, x, **QUICK), model)
    assert set(seen) == {4.0}
    assert model.cache.tolist() == [[0.0] * 4] * 2
    model(x)
    assert model.cache[0].tolist() == [1.0] * 4


def test_weights_that_are_tied_by_their_data_are_counted_once() -> None:
    model: Any = nn.Sequential(nn.Linear(64, 64, bias=False), nn.Linear(64, 64, bias=False))
    model[1].weight.data = model[0].weight.data
    found = bench.measure(model, torch.randn(3, 64), **QUICK)
    assert found.memory is not None
    assert found.memory.weights_bytes == 4 * 64 * 64
    assert model[1].weight.data_ptr() == model[0].weight.data_ptr()


class Packed(nn.Parameter):
    """A parameter of a class of its own, as quantising libraries have them."""


def test_a_parameter_of_its_own_class_keeps_its_gradient_and_flag() -> None:
    model: Any = small()
    model[0].weight = Packed(torch.randn(8, 4))
    model[2].weight = Packed(torch.randn(2, 8), requires_grad=False)
    model(torch.randn(3, 4)).sum().backward()
    gradient = model[0].weight.grad
    kept = gradient.clone()
    bench.measure(model, torch.randn(3, 4), mode="training", **QUICK)
    assert model[0].weight.grad is gradient
    assert torch.equal(gradient, kept)
    assert not model[2].weight.requires_grad


class Logging(nn.Module):
    """Keeps what it saw in containers of every kind, and inside of each other."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 3)
        self.by_name: dict[str, list[Tensor]] = defaultdict(list)
        self.last: deque[Tensor] = deque([torch.zeros(4)], maxlen=3)
        self.sizes = Counter({4: 2})
        self.deep = ({"keys": [[1]], "seen": OrderedDict(a={1})}, 7)

    def forward(self, x: Tensor) -> Tensor:
        self.by_name["x"].append(x)
        self.last[-1].add_(1)
        self.last.append(x.sum(0))
        self.sizes[len(x)] += 1
        first: Any = self.deep[0]
        first["keys"][0].append(2)
        first["seen"]["a"].add(first["keys"][0][-1])
        first["new"] = x
        out: Tensor = self.fc(x)
        return out


def test_containers_of_every_kind_are_left_with_what_was_in_them() -> None:
    model = Logging()
    zeros = model.last[0]
    bench.measure(model, torch.randn(6, 4), **QUICK)
    assert dict(model.by_name) == {}
    assert model.by_name.default_factory is list  # type: ignore[attr-defined]
    assert (list(model.last), model.last.maxlen) == ([zeros], 3)
    assert zeros.tolist() == [0, 0, 0, 0]
    assert model.sizes == {4: 2}
    assert model.deep == ({"keys": [[1]], "seen": {"a": {1}}}, 7)


def test_an_error_of_the_model_leaves_all_as_it_was_and_keeps_its_type() -> None:
    model = restless()
    x = torch.randn(6, 5)
    with pytest.raises(RuntimeError, match="size of tensor"):
        unchanged(lambda: bench.measure(model, x, mode="training"), model)


def test_ctrl_c_leaves_all_as_it_was() -> None:
    class Interrupted(Restless):
        def forward(self, x: Tensor) -> Tensor:
            out = super().forward(x)
            if self.calls > 6:
                raise KeyboardInterrupt
            return out

    model = Interrupted()
    x = torch.randn(6, 4)
    with pytest.raises(KeyboardInterrupt):
        unchanged(lambda: bench.measure(model, x, mode="training"), model)


def test_a_graph_that_waits_for_its_backward_stays_valid() -> None:
    model = small()
    waiting = model(torch.randn(3, 4)).square().sum()
    bench.measure(model, torch.randn(3, 4), mode="training", **QUICK)
    waiting.backward()
    assert model[0].weight.grad is not None


def test_training_has_three_phases_whose_sum_is_about_the_whole() -> None:
    found = bench.measure(small(), torch.randn(3, 4), mode="training", **QUICK)
    assert list(found.phases) == ["forward", "backward", "optimizer"]
    total_s = sum(one.median_s for one in found.phases.values())
    assert 0.3 * found.latency.median_s < total_s < 3 * found.latency.median_s


def test_figures_have_units_in_their_names_and_an_interval_around_them() -> None:
    found = bench.measure(small(), torch.randn(3, 4), **QUICK)
    assert found.latency.median_s == found.latency.median
    assert found.latency.low_s is not None
    assert found.latency.high_s is not None
    assert found.latency.low_s <= found.latency.median_s <= found.latency.high_s
    assert found.throughput.median_per_s == pytest.approx(3 / found.pipelined.median_s)
    assert found.memory is not None
    weights = 4 * (4 * 8 + 8 + 8 * 2 + 2)
    assert found.memory.weights_bytes == weights
    assert found.memory.peak_bytes >= weights + 4 * (3 * 4 + 3 * 8)


@pytest.mark.parametrize("existing", [True, False])
def test_the_state_of_an_optimizer_is_memory_of_a_step(existing: bool) -> None:
    model, x = nn.Linear(64, 64, bias=False), torch.randn(3, 64)
    asked: dict[str, Any] = {"mode": "training", **QUICK}
    peaks = []
    for momentum in (0.0, 0.9):
        made: Any = partial(torch.optim.SGD, lr=0.1, momentum=momentum, foreach=False)
        optimizer = made(model.parameters()) if existing else made
        found = bench.measure(model, x, optimizer=optimizer, **asked)
        assert found.memory is not None
        peaks.append(found.memory.peak_bytes)
    assert peaks[1] >= peaks[0] + 4 * 64 * 64


def test_a_result_says_that_it_knows_one_process_only() -> None:
    found = bench.measure(small(), torch.randn(3, 4), **QUICK)
    assert found.flags[0] == "in-process"
    assert "in-process" in repr(found)
    assert "another process may be faster or slower" in found._repr_html_()
    assert len(repr(found)) < 200


def test_several_and_keyword_inputs_reach_the_model() -> None:
    class Two(nn.Module):
        def forward(self, a: Tensor, b: Tensor, *, mask: Tensor, mode: float) -> Tensor:
            return (a + b) * mask * mode

    a, b, mask = torch.randn(3, 4), torch.randn(3, 4), torch.ones(3, 4)
    found = bench.measure(Two(), a, b, mask=mask, keywords={"mode": 2.0}, **QUICK)
    assert found.batch == 3


def test_a_callable_runs_in_its_own_modes_and_what_it_uses_is_restored() -> None:
    model, modes = restless(), set[tuple[bool, bool]]()

    def call(x: Tensor) -> Tensor:
        modes.add((model.training, torch.is_grad_enabled()))
        out: Tensor = model(x)
        return out

    x = torch.randn(6, 4)
    found = unchanged(lambda: bench.measure(call, x, **QUICK), model)
    assert isinstance(found, Measured)
    assert found.mode == "call"
    assert modes == {(True, True)}


class Trainer:
    """A training step of the user's own."""

    def __init__(self) -> None:
        self.model = small()
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=0.1)

    def step(self, x: Tensor) -> Tensor:
        loss: Tensor = self.model(x).square().mean()
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()
        return loss.detach()


def test_a_bound_method_that_trains_leaves_weights_and_optimizer_as_they_were() -> None:
    trainer = Trainer()
    trainer.step(torch.randn(3, 4))
    held = {
        key: {name: value.clone() for name, value in one.items()}
        for key, one in trainer.optimizer.state.items()
    }
    x = torch.randn(3, 4)
    unchanged(lambda: bench.measure(trainer.step, x, **QUICK), trainer.model)
    for key, one in trainer.optimizer.state.items():
        assert one.keys() == held[key].keys()
        assert all(torch.equal(value, held[key][name]) for name, value in one.items())


def test_the_scheduler_and_the_scaler_of_a_training_step_are_left_as_they_were() -> None:
    model, x = small(), torch.randn(3, 4)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    first = torch.optim.lr_scheduler.LinearLR(optimizer, total_iters=5)
    then = torch.optim.lr_scheduler.StepLR(optimizer, 1)
    scheduler = torch.optim.lr_scheduler.SequentialLR(optimizer, [first, then], [3])
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0, growth_interval=2)

    def step(x: Tensor) -> None:
        scaler.scale(model(x).square().mean()).backward()
        scaler.step(optimizer)
        scaler.update()
        scheduler.step()
        optimizer.zero_grad()

    used = set[tuple[int, int, int]]()

    def given(x: Tensor, _: nn.Module, *others: Any) -> None:
        used.add(tuple(map(id, others)))  # type: ignore[arg-type]
        step(x)

    step(x)
    seen = [dict(one.state_dict()) for one in (first, then, scaler)]
    rates = scheduler.get_last_lr()
    moments = [one["momentum_buffer"].clone() for one in optimizer.state.values()]
    unchanged(lambda: bench.measure(step, x, **QUICK), model)
    unchanged(lambda: bench.measure(given, x, model, optimizer, scaler, scheduler, **QUICK), model)
    assert used == {(id(optimizer), id(scaler), id(scheduler))}
    assert [dict(one.state_dict()) for one in (first, then, scaler)] == seen
    assert (scheduler.get_last_lr(), scheduler.last_epoch) == (rates, 1)
    assert optimizer.param_groups[0]["lr"] == rates[0]
    after = [one["momentum_buffer"] for one in optimizer.state.values()]
    assert all(map(torch.equal, after, moments))


def test_an_optimizer_inside_another_one_is_left_as_it_was() -> None:
    model, x = small(), torch.randn(3, 4)
    inner = torch.optim.Adam(model.parameters(), lr=0.1)

    class Around(torch.optim.Optimizer):
        def __init__(self) -> None:
            super().__init__(inner.param_groups, {})
            self.inner = inner

        def step(self, closure: Any = None) -> None:  # type: ignore[override]
            self.inner.step(closure)

    bench.measure(model, x, mode="training", optimizer=Around(), **QUICK)
    assert len(inner.state) == 0


def test_an_optimizer_without_a_learning_rate_moves_nothing_either() -> None:
    class Signs(torch.optim.Optimizer):
        def __init__(self, parameters: Any) -> None:
            super().__init__(parameters, {"size": 0.1})

        def step(self, closure: Any = None) -> None:  # type: ignore[override]  # noqa: ARG002
            for group in self.param_groups:
                for one in group["params"]:
                    one.data -= group["size"] * one.grad.sign()

    model, x = small(), torch.randn(3, 4)
    asked: dict[str, Any] = {"mode": "training", "optimizer": Signs(model.parameters())}
    found = unchanged(lambda: bench.measure(model, x, **asked, **QUICK), model)
    assert isinstance(found, Measured)
    assert "optimizer" in found.phases


def test_an_optimizer_with_a_scheduler_of_its_rates_takes_the_steps() -> None:
    model = small()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1)
    asked: dict[str, Any] = {"mode": "training", "optimizer": optimizer}
    found = bench.measure(model, torch.randn(3, 4), **asked, **QUICK)
    assert "optimizer" in found.phases
    assert scheduler.last_epoch == 0


def test_a_scaled_training_leaves_no_hook_on_the_optimizer() -> None:
    model = small()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    before = dict(vars(optimizer))
    hooks = len(optimizer._optimizer_step_post_hooks)
    asked: dict[str, Any] = {"mode": "training", "amp": "float16", "optimizer": optimizer}
    bench.measure(model, torch.randn(3, 4), **asked, **QUICK)
    assert len(optimizer._optimizer_step_post_hooks) == hooks
    assert vars(optimizer).keys() == before.keys()


def test_a_step_that_is_given_its_model_and_optimizer_works_on_these() -> None:
    model, x = small(), torch.randn(3, 4)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    seen, states = set[int](), list[int]()

    def step(x: Tensor, model: nn.Module, *, cache: list[int], adam: Any) -> None:
        seen.add(id(model))
        states.append(len(adam.state))
        cache.append(1)
        model(x).square().mean().backward()
        adam.step()
        adam.zero_grad()

    def measured() -> object:
        return bench.measure(step, x, model, cache=[], adam=optimizer, **QUICK)

    unchanged(measured, model)
    assert seen == {id(model)}
    assert set(states[1:]) == {4}
    assert len(optimizer.state) == 0


@pytest.mark.parametrize("existing", [True, False])
def test_own_loss_and_optimizer_take_the_steps_and_move_nothing(existing: bool) -> None:
    model, losses = small(), list[float]()
    made: Any = torch.optim.AdamW
    optimizer = made(model.parameters(), lr=0.5, weight_decay=0.3) if existing else made

    def loss(output: Tensor) -> Tensor:
        value = output.square().mean()
        losses.append(value.item())
        return value

    x = torch.randn(3, 4)
    unchanged(
        lambda: bench.measure(model, x, mode="training", loss=loss, optimizer=optimizer, **QUICK),
        model,
    )
    assert len(set(losses)) == 1
    if existing:
        assert optimizer.param_groups[0]["lr"] == 0.5
        assert len(optimizer.state) == 0


def test_inputs_of_a_generator_take_turns() -> None:
    seen = set[int]()

    class Sized(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            seen.add(len(x))
            return x * 2

    def batches() -> Iterator[Tensor]:
        for size in (2, 3, 5):
            yield torch.randn(size, 4)

    bench.measure(Sized(), batches(), **QUICK)
    assert seen == {2, 3, 5}


def test_the_throughput_of_inputs_of_several_sizes_counts_their_mean() -> None:
    sizes = iter([torch.randn(8, 4), torch.randn(8, 4), torch.randn(2, 4)])
    found = bench.measure(small(), sizes, **QUICK)
    assert found.batch == 8
    assert found.throughput.median == pytest.approx(6 / found.pipelined.median)
    said = "inputs of several sizes take turns (8, 2): the throughput counts 6 items"
    assert any(said in one for one in found.doubts)
    given = bench.measure(small(), iter([torch.randn(8, 4), torch.randn(2, 4)]), batch=7, **QUICK)
    assert given.throughput.median == pytest.approx(7 / given.pipelined.median)


def test_a_call_without_items_has_a_throughput_of_none() -> None:
    found = bench.measure(torch.relu, torch.randn(0, 4), **QUICK)
    assert (found.batch, found.throughput.median) == (0, 0.0)


@pytest.mark.parametrize("batch", [0, -1, "8", 2.5, True])
def test_a_batch_is_a_number_of_items(batch: Any) -> None:
    with pytest.raises(SettingError, match="expected a number of items, 1 or more"):
        bench.measure(small(), torch.randn(3, 4), batch=batch)
    with pytest.raises(SettingError, match="expected a number of items, 1 or more"):
        bench.compare({"a": small(), "b": small()}, torch.randn(3, 4), batch=batch)


def test_inputs_that_take_turns_are_left_as_they_were_and_writes_to_them_are_said() -> None:
    given = [torch.randn(3, 4), torch.randn(3, 4)]
    before = [one.clone() for one in given]
    found = bench.measure(nn.ReLU(inplace=True), iter(given), **QUICK)
    assert all(map(torch.equal, given, before))
    assert "growing" in found.flags
    assert any("write to their inputs, which take turns" in one for one in found.doubts)
    quiet = bench.measure(nn.ReLU(), iter(given), **QUICK)
    assert "growing" not in quiet.flags
    compared = bench.compare({"a": nn.ReLU(), "b": nn.ReLU(inplace=True)}, iter(given), **QUICK)
    assert "growing" in compared.flags
    assert all(map(torch.equal, given, before))


def test_a_generator_without_inputs_is_refused() -> None:
    with pytest.raises(InputError, match="gave no input"):
        bench.measure(small(), iter(()))


def test_an_iterator_among_the_inputs_is_refused_however_they_are_given() -> None:
    def times(x: Tensor, steps: Any) -> Tensor:
        for step in steps:
            x = x * step
        return x

    x = torch.randn(3, 4)
    with pytest.raises(InputError, match=r"input 2 is an iterator .*: give a list"):
        bench.measure(times, x, (one for one in (1, 2)), **QUICK)
    with pytest.raises(InputError, match=r"input 2 is an iterator .*: give a list"):
        bench.measure(times, ((x, iter([size])) for size in (1, 2)), **QUICK)


class Stepping(nn.Module):
    """Reads an iterator that it holds."""

    def __init__(self) -> None:
        super().__init__()
        self.steps = iter([1, 2])

    def forward(self, x: Tensor) -> Tensor:
        for step in self.steps:
            x = x * step
        return x


def test_an_iterator_that_a_model_or_a_callable_reads_to_its_end_is_refused() -> None:
    x, steps = torch.randn(3, 4), (one for one in (1, 2))

    def closing(x: Tensor) -> Tensor:
        for step in steps:
            x = x * step
        return x

    said = r"an iterator \(\w+\), which the calls have used up, .*: keep a list"
    with pytest.raises(SessionError, match=f"steps is or holds {said}"):
        bench.measure(Stepping(), x, **QUICK)
    with pytest.raises(SessionError, match=f"a variable of the callable is or holds {said}"):
        bench.measure(closing, x, **QUICK)
    with pytest.raises(SessionError, match=f"steps is or holds {said}"):
        bench.compare({"a": Stepping(), "b": nn.ReLU()}, x, **QUICK)


def test_a_model_that_ends_its_iterator_among_the_samples_is_refused() -> None:
    left = iter(range(20))

    def until_it_ends(x: Tensor) -> Tensor:
        return x * 2 if next(left, None) is None else x * 3

    with pytest.raises(SessionError, match="which the calls have used up"):
        bench.measure(until_it_ends, torch.randn(3, 4), **QUICK)


def test_inputs_that_a_call_writes_to_are_left_as_they_were() -> None:
    x = torch.randn(3, 4)
    before = x.clone()
    bench.measure(lambda one: one.add_(1), x, **QUICK)
    assert torch.equal(x, before)


def test_an_array_of_numpy_that_a_call_writes_to_is_left_as_it_was() -> None:
    given, seen = np.zeros(3), list[list[float]]()

    def call(one: Any) -> None:
        seen.append(one.tolist())
        one += 1

    bench.measure(call, given, **QUICK)
    assert given.tolist() == [0, 0, 0]
    assert all(one == [0, 0, 0] for one in seen)


def test_gradients_of_inputs_are_left_as_they_were() -> None:
    x = torch.randn(3, 4, requires_grad=True)
    bench.measure(small(), x, mode="training", **QUICK)
    assert x.grad is None


def test_it_trains_inside_no_grad_as_well() -> None:
    with torch.no_grad():
        found = bench.measure(small(), torch.randn(3, 4), mode="training", **QUICK)
        assert not torch.is_grad_enabled()
    assert "backward" in found.phases


@pytest.mark.parametrize("mode", ["inference", "training"])
def test_the_default_device_of_the_process_is_not_that_of_the_suite(mode: str) -> None:
    model, x = nn.Linear(256, 256), torch.randn(3, 256)
    with torch.device("meta"):
        found = bench.measure(model, x, mode=mode, **QUICK)
        assert torch.get_default_device().type == "meta"
    assert found.device == "cpu"


@pytest.mark.parametrize("grad_mode", ["no_grad", "enabled"])
def test_a_grad_mode_that_is_asked_for_holds_inside_inference_mode(grad_mode: str) -> None:
    model, modes = small(), set[tuple[bool, bool]]()

    def call(x: Tensor) -> Tensor:
        modes.add((torch.is_inference_mode_enabled(), torch.is_grad_enabled()))
        out: Tensor = model(x)
        return out

    with torch.inference_mode():
        bench.measure(call, torch.randn(3, 4), grad_mode=grad_mode, **QUICK)
        assert torch.is_inference_mode_enabled()
    assert modes == {(False, grad_mode == "enabled")}


@pytest.mark.parametrize("wrap", [False, True])
def test_a_measurement_inside_inference_mode_leaves_weights_that_can_be_trained(wrap: bool) -> None:
    model = small()
    with torch.inference_mode():
        x = torch.randn(3, 4)
        called: Any = (lambda one: model(one)) if wrap else model
        unchanged(lambda: bench.measure(called, x, **QUICK), model)
    model(torch.randn(3, 4)).sum().backward()
    assert model[0].weight.grad is not None


def test_a_model_on_another_device_than_its_input_is_named_with_both_places() -> None:
    with pytest.raises(SessionError, match=r"0.weight of Sequential is on cpu.*inputs is on meta"):
        bench.measure(small(), torch.randn(3, 4, device="meta"))


def test_a_model_without_numbers_is_refused() -> None:
    with pytest.raises(SessionError, match="meta, which has no numbers"):
        bench.measure(small().to("meta"), torch.randn(3, 4, device="meta"))


def test_a_lazy_model_is_refused_in_words() -> None:
    with pytest.raises(SessionError, match="call the model once before"):
        bench.measure(nn.LazyLinear(3), torch.randn(3, 4))


def test_what_cannot_be_called_is_refused_in_words() -> None:
    thing: Any = "resnet18"
    with pytest.raises(SessionError, match="is a str, which cannot be called"):
        bench.measure(thing, torch.randn(3, 4))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"mode": "train"}, "did you mean 'training'"),
        ({"amp": "fp16"}, "did you mean 'float16'"),
        ({"tf32": "on"}, "tf32 has no effect on cpu"),
        ({"threads": 0}, "threads is '0'"),
        ({"mode": "training", "grad_mode": "no_grad"}, "grad_mode is a setting of inference"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_in_words(settings: Any, words: str) -> None:
    with pytest.raises(SettingError, match=words):
        bench.measure(small(), torch.randn(3, 4), **settings)


def test_the_modules_of_a_loss_keep_their_modes() -> None:
    """A teacher that is not trained runs in inference beside the model that is."""
    teacher, modes = small().eval(), set[tuple[bool, bool]]()
    model = small().eval()

    def loss(output: Tensor) -> Tensor:
        modes.add((model.training, teacher.training))
        value: Tensor = (output - teacher(torch.ones(3, 4))).square().mean()
        return value

    bench.measure(model, torch.randn(3, 4), mode="training", loss=loss, **QUICK)
    assert modes == {(True, False)}


def test_a_loss_without_training_is_refused() -> None:
    with pytest.raises(SessionError, match='mode="training"'):
        bench.measure(small(), torch.randn(3, 4), loss=torch.sum)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"loss": lambda output: output}, "the loss is not one number"),
        ({"optimizer": torch.optim.LBFGS}, "LBFGS calls the model several times"),
        ({"optimizer": lambda _: 3}, "optimizer gave a int"),
    ],
)
def test_a_training_that_cannot_be_is_refused_in_words(asked: Any, words: str) -> None:
    with pytest.raises(SessionError, match=words):
        bench.measure(small(), torch.randn(3, 4), mode="training", **asked)


def test_a_model_made_in_inference_mode_cannot_be_trained_and_its_inputs_can() -> None:
    with torch.inference_mode():
        model, x = small(), torch.randn(3, 4)
    with pytest.raises(SessionError, match=r"0.weight of Sequential was made in inference_mode"):
        bench.measure(model, x, mode="training", **QUICK)
    assert "backward" in bench.measure(small(), x, mode="training", **QUICK).phases


def test_a_misspelled_setting_comes_with_a_hint() -> None:
    with pytest.raises(TypeError) as caught:
        bench.measure(small(), torch.randn(3, 4), memoryformat="channels_last")
    assert "did you mean 'memory_format'?" in caught.value.__notes__[0]


def test_a_setting_that_the_model_does_not_follow_is_refused() -> None:
    class Own(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            with torch.autocast("cpu", enabled=False):
                out: Tensor = self.fc(x)
            return out

    with pytest.raises(SessionError, match="autocast to bfloat16 was asked for"):
        bench.measure(Own(), torch.randn(3, 4), amp="bfloat16", **QUICK)


@pytest.mark.parametrize("amp", [None, "off", "bfloat16"])
def test_a_callable_that_is_no_module_runs_under_autocast_as_well(amp: str | None) -> None:
    model, seen = small(), set[torch.dtype]()

    def call(x: Tensor) -> Tensor:
        out: Tensor = model(x)
        seen.add(out.dtype)
        return out

    found = bench.measure(call, torch.randn(3, 4), amp=amp, **QUICK)
    assert found.mode == "call"
    assert seen == {torch.bfloat16 if amp == "bfloat16" else torch.float32}
    assert not torch.is_autocast_enabled("cpu")


def test_an_output_that_is_not_a_number_is_said() -> None:
    found = bench.measure(lambda x: x / 0 - x / 0, torch.ones(3), **QUICK)
    assert any("NaN" in one for one in found.doubts)


def test_calls_that_leave_more_behind_are_said() -> None:
    model = restless()
    found = bench.measure(model, torch.randn(6, 4), **QUICK)
    assert "growing" in found.flags
    assert any("seen" in one for one in found.doubts)


def test_it_works_in_a_thread_and_beside_a_running_event_loop() -> None:
    found = list[Measured]()
    model, x = small(), torch.randn(3, 4)

    def measured() -> None:
        found.append(bench.measure(model, x, **QUICK))

    thread = threading.Thread(target=measured)
    thread.start()
    thread.join()

    async def inside() -> None:
        measured()

    asyncio.run(inside())
    assert len(found) == 2


def test_a_recurrent_layer_keeps_its_weights() -> None:
    model, x = nn.LSTM(4, 5), torch.randn(3, 2, 4)
    found = unchanged(lambda: bench.measure(model, x, mode="training", **QUICK), model)
    assert isinstance(found, Measured)


def test_nothing_of_the_profiler_is_written(capfd: pytest.CaptureFixture[str]) -> None:
    bench.measure(small(), torch.randn(3, 4), **QUICK)
    assert capfd.readouterr() == ("", "")


async def _later() -> int:
    return 1


def _some() -> Iterator[int]:
    yield 1


@pytest.mark.parametrize(
    ("function", "kind"), [(_later, "a coroutine"), (_some, "a generator")], ids=["async", "yields"]
)
def test_a_call_that_runs_nothing_yet_is_refused(function: Any, kind: str) -> None:
    with pytest.raises(SessionError, match=f"gives {kind}, which has run nothing yet"):
        bench.measure(function)
    with pytest.raises(SessionError, match=f"gives {kind}, which has run nothing yet"):
        bench.compare({"a": function, "b": function})


@pytest.mark.parametrize("value", [-1.0, 0, float("nan"), float("inf"), "1", True])
def test_the_seconds_of_samples_are_above_0(value: Any) -> None:
    with pytest.raises(SettingError, match="expected a number of seconds"):
        bench.measure(torch.ones, 1, samples_s=value)
    with pytest.raises(SettingError, match="expected a number of seconds"):
        bench.compare({"a": torch.ones, "b": torch.zeros}, 1, samples_s=value)


def test_a_generator_that_draws_leaves_the_random_state_as_it_was() -> None:
    before = torch.get_rng_state()
    bench.measure(torch.relu, (torch.randn(4) for _ in range(3)), samples_s=0.01, warmup_s=0.0)
    assert torch.equal(torch.get_rng_state(), before)
