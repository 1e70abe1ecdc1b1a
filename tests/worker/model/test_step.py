"""The effects of one call of a case, on small layers."""

import io
import itertools
from collections.abc import Callable
from threading import Lock
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bench.worker.model import attributes, growth, pytree, step_inputs
from bench.worker.model.loss import FixedGradient, LossError
from bench.worker.model.step import InferenceStep, Step, TrainingStep
from bench.worker.model.step_inputs import StepError, UnsupportedError


class Spy(nn.Module):
    """A linear layer that keeps what it saw of the state around each of its calls."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 3)
        self.seen: list[dict[str, Any]] = []

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(
            {
                "autocast": torch.is_autocast_enabled("cpu"),
                "inference_mode": torch.is_inference_mode_enabled(),
                "gradients": [parameter.grad for parameter in self.parameters()],
                "input_gradient": x.grad if x.is_leaf else None,
            }
        )
        return torch.as_tensor(self.linear(x))


def on_gradient(tensor: Tensor, hook: Callable[[Tensor], None]) -> None:
    tensor.register_hook(hook)


def total(output: Tensor) -> Tensor:
    return output.float().sum()


def training(
    module: nn.Module, *args: Tensor, amp: str = "off", restore: bool = False
) -> TrainingStep:
    return TrainingStep(
        module.train(), args, {}, loss=total, device_type="cpu", amp=amp, restore=restore
    )


def inference(
    module: nn.Module, *args: Tensor, amp: str = "off", restore: bool = False
) -> InferenceStep:
    return InferenceStep(module.eval(), args, {}, device_type="cpu", amp=amp, restore=restore)


def call(step: Step, mark: Callable[[], None] | None = None) -> Any:
    assert step.prepare(1) == 1
    step(mark)
    return step.output


def test_inference_runs_in_inference_mode_with_the_modules_own_result() -> None:
    spy, x = Spy(), torch.randn(2, 4)
    output = call(inference(spy, x))
    assert output.is_inference()
    assert spy.seen[0]["inference_mode"]
    assert torch.equal(output, spy.linear(x))


def test_inference_is_one_phase_without_a_mark() -> None:
    marks: list[int] = []
    step = inference(Spy(), torch.randn(2, 4))
    call(step, lambda: marks.append(1))
    assert (step.phases, step.whole, marks) == (("forward",), "forward", [])


def test_autocast_is_entered_inside_the_call_and_left_again() -> None:
    spy = Spy()
    for make in (inference, training):
        output = call(make(spy, torch.randn(2, 4), amp="bfloat16"))
        assert output.dtype == torch.bfloat16
        assert spy.seen[-1]["autocast"]
        assert not torch.is_autocast_enabled("cpu")


def test_without_amp_nothing_is_cast() -> None:
    spy = Spy()
    for make in (inference, training):
        assert call(make(spy, torch.randn(2, 4))).dtype == torch.float32
        assert not spy.seen[-1]["autocast"]


def test_the_loss_is_under_autocast_and_the_backward_is_not() -> None:
    seen: dict[str, bool] = {}

    def loss(output: Tensor) -> Tensor:
        seen["loss"] = torch.is_autocast_enabled("cpu")
        on_gradient(
            output, lambda _: seen.__setitem__("backward", torch.is_autocast_enabled("cpu"))
        )
        return total(output)

    step = TrainingStep(
        nn.Linear(4, 3), (torch.randn(2, 4),), {}, loss=loss, device_type="cpu", amp="bfloat16"
    )
    call(step)
    assert seen == {"loss": True, "backward": False}


def test_a_training_step_marks_between_its_three_phases() -> None:
    order: list[str] = []
    module = nn.Linear(4, 3)
    module.register_forward_hook(lambda *_: order.append("forward"))
    on_gradient(module.weight, lambda _: order.append("backward"))
    step = training(module, torch.randn(2, 4))
    assert step._optimizer is not None
    step._optimizer.register_step_post_hook(lambda *_: order.append("optimizer"))
    call(step, lambda: order.append("|"))
    assert (step.phases, step.whole) == (("forward", "backward", "optimizer"), "step")
    assert order == ["forward", "|", "backward", "|", "optimizer"]


def test_without_parameters_there_is_no_optimizer_phase() -> None:
    marks: list[int] = []
    x = torch.randn(2, 4, requires_grad=True)
    step = training(nn.ReLU(), x)
    call(step, lambda: marks.append(1))
    assert step.phases == ("forward", "backward")
    assert marks == [1]


def test_frozen_parameters_are_no_parameters() -> None:
    module = nn.Linear(4, 3).requires_grad_(False)
    assert training(module, torch.randn(2, 4, requires_grad=True)).phases == (
        "forward",
        "backward",
    )


def test_gradients_are_none_before_each_backward() -> None:
    spy, x = Spy(), torch.randn(2, 4, requires_grad=True)
    step = training(spy, x)
    for _ in range(3):
        call(step)
    assert [one["gradients"] for one in spy.seen] == [[None, None]] * 3
    assert [one["input_gradient"] for one in spy.seen] == [None] * 3
    assert x.grad is None


def test_the_backward_reaches_parameters_and_inputs() -> None:
    module, x = nn.Linear(4, 3), torch.randn(2, 4, requires_grad=True)
    seen: dict[str, Tensor] = {}
    on_gradient(module.weight, lambda gradient: seen.__setitem__("weight", gradient.clone()))
    on_gradient(x, lambda gradient: seen.__setitem__("input", gradient.clone()))
    call(training(module, x))
    assert torch.allclose(seen["weight"], x.detach().sum(0).expand(3, 4))
    assert torch.allclose(seen["input"], module.weight.detach().sum(0).expand(2, 4))


def test_training_leaves_the_weights_as_they_are() -> None:
    module = nn.Linear(4, 3)
    before = module.weight.detach().clone()
    step = training(module, torch.randn(2, 4))
    for _ in range(3):
        call(step)
    assert torch.equal(module.weight, before)


@pytest.mark.parametrize(
    ("amp", "gradient"), [("float16", 2.0**16 / 4), ("bfloat16", 0.25), ("off", 0.25)]
)
def test_float16_amp_goes_through_a_grad_scaler_and_the_others_do_not(
    amp: str, gradient: float
) -> None:
    module, seen = nn.Linear(4, 4), list[Tensor]()
    on_gradient(module.bias, seen.append)
    step = TrainingStep(
        module,
        (torch.ones(1, 4),),
        {},
        loss=lambda output: output.float().mean(),
        device_type="cpu",
        amp=amp,
    )
    call(step)
    assert torch.equal(seen[0], torch.full((4,), gradient))


def test_skipped_steps_are_counted_and_settling_ends_them() -> None:
    module = nn.Linear(4, 3)
    # 2^16 overflows float16's 65504, and so does 2^15 x 2 (two rows); 2^14 x 2 does not
    step = training(module, torch.ones(2, 4), amp="float16")
    step.settle()
    settled = step.skipped_steps
    assert settled > 0
    call(step)
    assert step.skipped_steps == settled


def test_gradients_that_are_never_finite_do_not_settle() -> None:
    module = nn.Linear(4, 3)
    step = training(module, torch.full((2, 4), float("inf")), amp="float16")
    with pytest.raises(StepError, match="skipped 24 of 24 steps"):
        step.settle()


def test_float16_amp_with_float16_weights_is_refused() -> None:
    with pytest.raises(StepError, match="float16 weights"):
        training(nn.Linear(4, 3).half(), torch.randn(2, 4).half(), amp="float16")


def test_nothing_to_differentiate_is_refused() -> None:
    step = training(nn.ReLU(), torch.randn(2, 4))
    with pytest.raises(StepError, match="requires a gradient"):
        call(step)


def test_an_output_without_a_tensor_is_refused() -> None:
    class Nothing(nn.Module):
        def forward(self, x: Tensor) -> None:
            del x

    with pytest.raises(StepError, match="no tensor"):
        call(inference(Nothing(), torch.randn(2, 4)))


def test_the_wrong_mode_is_refused() -> None:
    with pytest.raises(StepError, match=r"call eval\(\)"):
        InferenceStep(nn.Linear(4, 3).train(), (), {}, device_type="cpu")
    with pytest.raises(StepError, match=r"call train\(\)"):
        TrainingStep(nn.Linear(4, 3).eval(), (), {}, loss=total, device_type="cpu")


def test_gradients_that_the_subject_switched_off_are_its_own_error() -> None:
    class SwitchesOff(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            torch.set_grad_enabled(False)
            return super().forward(x)

    try:
        with pytest.raises(StepError, match="has switched gradients off"):
            call(training(SwitchesOff(4, 3), torch.randn(2, 4)))
    finally:
        torch.set_grad_enabled(True)


def test_an_unknown_amp_is_refused() -> None:
    with pytest.raises(StepError, match="choose from off, bfloat16, float16"):
        inference(nn.Linear(4, 3), torch.randn(2, 4), amp="float8")


@pytest.mark.parametrize("requires_grad", [True, False])
def test_a_layer_that_writes_to_its_input_gets_the_same_input_every_time(
    requires_grad: bool,
) -> None:
    x = torch.tensor([[-1.0, 2.0, -3.0, 4.0]])
    negatives: list[int] = []

    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(4))
            self.relu = nn.ReLU(inplace=True)

        def forward(self, x: Tensor) -> Tensor:
            negatives.append(int((x < 0).sum()))
            return torch.as_tensor(self.relu(x) * self.scale)

    for make in (inference, training):
        step = make(Counting(), x.clone().requires_grad_(requires_grad), restore=True)
        assert step.prepare(3) == 3
        for _ in range(3):
            step()
        assert torch.equal(step.output, torch.tensor([[0.0, 2.0, 0.0, 4.0]]))
    assert negatives == [2] * 6


def test_restored_inputs_keep_format_and_requires_grad_but_are_no_leaves() -> None:
    x = torch.randn(2, 3, 4, 4).contiguous(memory_format=torch.channels_last).requires_grad_()
    seen: list[Tensor] = []

    class Look(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            seen.append(x)
            return x.relu_()

    call(training(Look(), x, restore=True))
    assert seen[0].requires_grad
    assert not seen[0].is_leaf
    assert seen[0].is_contiguous(memory_format=torch.channels_last)
    assert x.grad is None


def test_inputs_inside_containers_are_restored_too() -> None:
    class Both(nn.Module):
        def forward(self, pair: tuple[Tensor, Tensor], *, more: dict[str, Tensor]) -> Tensor:
            return pair[0].add_(1) + pair[1].add_(1) + more["z"].add_(1)

    one = torch.zeros(2)
    step = InferenceStep(
        Both().eval(),
        ((one, one.clone()),),
        {"more": {"z": one.clone()}},
        device_type="cpu",
        restore=True,
    )
    for _ in range(2):
        assert torch.equal(call(step), torch.full((2,), 3.0))


def test_restored_inputs_are_those_given_even_if_somebody_writes_to_them_later() -> None:
    x = torch.tensor([-1.0, 2.0])
    step = inference(nn.ReLU(inplace=True), x, restore=True)
    x.fill_(7.0)
    assert torch.equal(call(step), torch.tensor([0.0, 2.0]))


def test_a_restoring_step_called_without_preparation_is_refused() -> None:
    step = inference(nn.ReLU(inplace=True), torch.randn(2, 4), restore=True)
    step.prepare(1)
    step()
    with pytest.raises(StepError, match="prepare"):
        step()


def test_prepared_inputs_are_bounded_by_their_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(step_inputs, "PREPARED_BYTES", 1000)
    x = torch.randn(10, 10)  # 400 bytes
    step = inference(nn.ReLU(inplace=True), x, restore=True)
    assert (step.prepare(50), step.prepare(50), step.prepare(1)) == (2, 2, 1)
    big = torch.randn(100, 100)
    assert inference(nn.ReLU(inplace=True), big, restore=True).prepare(50) == 1
    assert inference(nn.ReLU(), big).prepare(50) == 50


def test_cuda_graphs_are_told_of_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[int] = []
    monkeypatch.setattr(torch.compiler, "cudagraph_mark_step_begin", lambda: begun.append(1))
    module, x = nn.Linear(4, 3), (torch.randn(2, 4),)
    evaluated = InferenceStep(module.eval(), x, {}, device_type="cpu", cudagraphs=True)
    call(evaluated)
    call(evaluated)
    assert len(begun) == 2
    call(
        TrainingStep(module.train(), x, {}, loss=total, device_type="cpu", cudagraphs=True),
    )
    assert len(begun) == 3
    call(inference(module, *x))
    assert len(begun) == 3


def test_the_last_output_is_gone_before_the_next_call_begins() -> None:
    step: InferenceStep

    class Look(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            assert step.output is None
            return x + 1

    step = inference(Look(), torch.randn(2, 4))
    call(step)
    call(step)
    assert step.output is not None


def test_a_fixed_gradient_begins_the_backward_itself() -> None:
    layer = nn.Linear(3, 2).train()
    x = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    loss = FixedGradient(scaled=False)
    step = TrainingStep(layer, (x,), {}, loss=loss, device_type="cpu")
    seen: list[torch.Tensor | None] = []

    def look() -> None:
        seen.append(None if layer.weight.grad is None else layer.weight.grad.clone())

    step(look)
    g = loss.gradient(0, step.output)
    before, after = seen  # the marks stand before and after the backward
    assert before is None
    torch.testing.assert_close(after, g.T @ x)


def test_a_layer_without_any_gradient_is_unsupported_in_training() -> None:
    loss = FixedGradient(scaled=False)
    step = TrainingStep(nn.Flatten(), (torch.zeros(2, 3),), {}, loss=loss, device_type="cpu")
    with pytest.raises(LossError, match="training is not supported here"):
        step()


class OnItsOwn(nn.Module):
    """No parameters: the output hangs on a tensor that it makes, `through` on the input as well."""

    def __init__(self, *, through: bool) -> None:
        super().__init__()
        self.through = through

    def forward(self, x: Tensor) -> Tensor:
        made = torch.ones(3, requires_grad=True) * 2
        return x * made if self.through else x.detach() * made


def own_gradient(through: bool, restore: bool | None) -> TrainingStep:
    return TrainingStep(
        OnItsOwn(through=through).train(),
        (torch.ones(2, 3, requires_grad=True),),
        {},
        loss=FixedGradient(scaled=False),
        device_type="cpu",
        restore=restore,
    )


@pytest.mark.parametrize("restore", [None, False, True])
def test_a_backward_that_reaches_no_parameter_and_no_input_is_unsupported(
    restore: bool | None,
) -> None:
    step = own_gradient(through=False, restore=restore)
    step.prepare(1)
    with pytest.raises(StepError, match="is not supported here: the backward reached no parameter"):
        step()


@pytest.mark.parametrize("restore", [None, False, True])
def test_a_backward_that_reaches_the_input_alone_is_fine(restore: bool | None) -> None:
    step = own_gradient(through=True, restore=restore)
    for _ in range(3):
        call(step)
    assert step.output.shape == (2, 3)


class Cache:
    """Keeps tensors of its own, which the module writes to."""

    def __init__(self) -> None:
        self.keys = torch.zeros(3)
        self.calls = 0


class WritesToItsCache(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 3)

    def forward(self, x: Tensor, cache: Cache) -> Tensor:
        cache.keys += 1
        cache.calls += 1
        return torch.as_tensor(self.linear(x) * cache.keys + cache.calls)


def test_every_call_is_given_the_objects_as_they_were_before_the_first() -> None:
    cache = Cache()
    step = InferenceStep(
        WritesToItsCache().eval(), (torch.ones(2, 3), cache), {}, device_type="cpu"
    )
    first = call(step)
    assert torch.equal(call(step), first)
    assert torch.equal(call(step), first)
    assert cache.calls == 0
    assert cache.keys.sum() == 0


def test_objects_that_no_call_changes_are_given_as_they_are() -> None:
    given: list[int] = []

    class Reads(nn.Module):
        def forward(self, one: dict[str, Tensor]) -> Tensor:
            given.append(id(one))
            return one["x"] + 1

    x = {"x": torch.ones(2)}
    step = InferenceStep(Reads().eval(), (x,), {}, device_type="cpu")
    for _ in range(3):
        call(step)
    assert given[0] != id(x)
    assert given[1:] == [id(x), id(x)]
    assert step.prepare(7) == 7


class Counts:
    """An iterator written in Python: its state shows."""

    def __init__(self, until: int) -> None:
        self.at, self.until = 0, until

    def __iter__(self) -> "Counts":
        return self

    def __next__(self) -> int:
        if self.at == self.until:
            raise StopIteration
        self.at += 1
        return self.at


class AddsEach(nn.Module):
    def forward(self, x: Tensor, steps: Any) -> Tensor:
        for step in steps["each"] if isinstance(steps, dict) else steps:
            x = x + step
        return x


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ((one for one in range(3)), r"^input 2 is an iterator \(generator\), .*: give a list$"),
        (iter([1, 2]), r"^input 2 is an iterator \(list_iterator\)"),
        (map(abs, [1, 2]), r"^input 2 is an iterator \(map\)"),
        ({"each": iter((1, 2))}, r"^input 2 holds an iterator \(tuple_iterator\)"),
        (SimpleNamespace(each=zip([1], [2], strict=True)), r"^input 2 holds an iterator \(zip\)"),
    ],
)
def test_an_iterator_that_the_first_call_would_use_up_is_refused(steps: Any, said: str) -> None:
    with pytest.raises(UnsupportedError, match=said):
        InferenceStep(AddsEach().eval(), (torch.ones(2), steps), {}, device_type="cpu")
    with pytest.raises(UnsupportedError, match=r"^the input 'steps' "):
        TrainingStep(
            AddsEach().train(),
            (torch.ones(2),),
            {"steps": steps},
            loss=total,
            device_type="cpu",
            restore=None,
        )


@pytest.mark.parametrize("steps", [[1, 2], {"each": range(1, 3)}, Counts(2)])
def test_steps_that_can_be_read_again_are_read_in_each_call(steps: Any) -> None:
    step = InferenceStep(
        AddsEach().eval(), (torch.ones(2), steps), {}, device_type="cpu", restore=None
    )
    assert [call(step).tolist() for _ in range(3)] == [[4.0, 4.0]] * 3
    assert step.doubt is None


def test_an_iterator_without_an_end_and_a_file_are_given_as_they_are() -> None:
    assert growth.used_up((itertools.count(), itertools.cycle([1]), io.StringIO("a")), {}) is None


class Locked:
    """No copy can be made of it.  tensor: that it holds."""

    def __init__(self, tensor: Tensor | None = None) -> None:
        self.tensor = tensor
        self.calls = 0
        self.lock = Lock()

    def __copy__(self) -> "Locked":
        raise TypeError("one of a kind")

    __deepcopy__ = None


class AddsOne(nn.Module):
    """Writes to x, to what `beside` holds, or to neither; counts its calls there where asked."""

    def __init__(self, *, to: str, counts: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3))
        self.writes, self.counts = to, counts

    def forward(self, x: Tensor, beside: Locked, seen: list[Tensor]) -> Tensor:
        if self.writes == "x":
            x += 1
        elif self.writes == "numpy":
            x.numpy()[...] += 1
        elif self.writes == "seen":
            seen.append(x)
        elif self.writes == "beside":
            assert beside.tensor is not None
            beside.tensor += 1
        beside.calls += self.counts
        return x * self.weight + len(seen) + (0 if beside.tensor is None else beside.tensor)


@pytest.mark.parametrize("held", [None, torch.zeros(3)], ids=["empty", "holds"])
@pytest.mark.parametrize("to", ["x", "numpy", "seen"])
def test_tensors_beside_an_object_that_cannot_be_copied_are_restored(
    to: str, held: Tensor | None
) -> None:
    x, seen = torch.ones(2, 3), [torch.zeros(1)]
    step = InferenceStep(
        AddsOne(to=to).eval(), (x, Locked(held)), {"seen": seen}, device_type="cpu", restore=None
    )
    outputs = [call(step).clone() for _ in range(4)]
    assert all(torch.equal(one, outputs[0]) for one in outputs)
    assert torch.equal(x, torch.ones(2, 3))
    assert len(seen) == 1
    assert step.doubt is None


@pytest.mark.parametrize(("to", "counts"), [("beside", False), ("", True), ("x", True)])
def test_what_a_call_changes_in_an_object_that_cannot_be_copied_is_said(
    to: str, counts: bool
) -> None:
    step = InferenceStep(
        AddsOne(to=to, counts=counts).eval(),
        (torch.ones(2, 3), Locked(torch.zeros(3)), []),
        {},
        device_type="cpu",
        restore=None,
    )
    call(step)
    call(step)
    assert "each call changes its inputs, which cannot be copied" in str(step.doubt)


def test_objects_are_restored_with_gradients_in_training() -> None:
    class Collects(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(2, 2)

        def forward(self, one: dict[str, list[Tensor]]) -> Tensor:
            one["seen"].append(self.linear(one["seen"][0]))
            return torch.stack(one["seen"][1:]).sum()

    step = TrainingStep(
        Collects().train(), ({"seen": [torch.ones(2)]},), {}, loss=total, device_type="cpu"
    )
    first = call(step)
    assert torch.equal(call(step), first)
    assert torch.equal(call(step), first)


class Scene:
    """An output of a class of its own: tensors among attributes, in containers, in objects."""

    def __init__(self, x: Tensor, *, more: int = 0) -> None:
        self.name = "scene"
        self.first = x * 2
        self.rest = [x * 3, {"deep": SimpleNamespace(one=x * 4)}, *[x] * more]
        self.again = self.first


class PutsOutScenes(nn.Module):
    """more: of each call, how many tensors it puts out besides."""

    def __init__(self, *more: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3))
        self.more = iter((*more, *[0] * 9))

    def forward(self, x: Tensor) -> Scene:
        return Scene(x * self.weight, more=next(self.more))


@pytest.mark.parametrize("amp", ["off", "float16"])
def test_tensors_of_an_output_are_looked_for_in_the_first_call_alone(
    amp: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[Any] = []
    before = attributes.of

    def of(value: Any) -> dict[str, Any]:
        looked.append(value)
        return before(value)

    monkeypatch.setattr(attributes, "of", of)
    loss = FixedGradient(scaled=amp != "off")
    step = TrainingStep(
        PutsOutScenes().train(), (torch.ones(3),), {}, loss=loss, device_type="cpu", amp=amp
    )
    call(step)
    assert looked
    step.prepare(1)
    looked.clear()
    seeds: list[int] = []

    def gradient(place: int, one: Tensor) -> Tensor:
        seeds.append(place)
        return one.detach()

    monkeypatch.setattr(loss, "gradient", gradient)
    step()
    assert looked == []
    assert seeds == [0, 1, 2]
    assert step.doubt is None


@pytest.mark.parametrize("more", [(0, 1, 0), (1, 0, 0), (0, 0, 2)])
def test_an_output_whose_structure_changes_is_said_and_its_tensors_are_found(
    more: tuple[int, ...],
) -> None:
    loss = FixedGradient(scaled=False)
    module = PutsOutScenes(*more).train()
    step = TrainingStep(module, (torch.ones(3),), {}, loss=loss, device_type="cpu")
    counts: list[int] = []
    for _ in more:
        step.prepare(1)
        step()
        counts.append(len(list(pytree.tensors(step.output))))
    assert counts == [3 + one for one in more]
    assert "another structure than in the first call" in str(step.doubt)


def test_a_new_attribute_of_the_last_output_is_noticed() -> None:
    step = TrainingStep(
        PutsOutScenes().train(),
        (torch.ones(3),),
        {},
        loss=FixedGradient(scaled=False),
        device_type="cpu",
    )
    call(step)
    assert step.doubt is None
    step.output.other = torch.ones(1)
    assert "another structure" in str(step.doubt)


class ChangesSize(nn.Module):
    """sizes: first sizes of its outputs, call after call."""

    def __init__(self, *sizes: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3))
        self.sizes = list(sizes)

    def forward(self, x: Tensor) -> Tensor:
        return x[: self.sizes.pop(0)] * self.weight


@pytest.mark.parametrize("amp", ["off", "float16"])
@pytest.mark.parametrize(
    ("sizes", "drawn"), [((2, 2, 2), False), ((2, 3, 2), True), ((2, 2, 1), True)]
)
def test_a_fixed_gradient_that_is_drawn_after_the_first_call_is_said(
    sizes: tuple[int, ...], drawn: bool, amp: str
) -> None:
    module = ChangesSize(*sizes).train()
    given, loss = torch.ones(8, 3), FixedGradient(scaled=amp != "off")
    step = TrainingStep(module, (given,), {}, loss=loss, device_type="cpu", amp=amp)
    call(step)
    assert step.doubt is None
    for _ in sizes[1:]:
        call(step)
    assert (step.doubt is not None) is drawn
    assert not drawn or "was drawn inside the timed span" in str(step.doubt)


def test_gradients_of_a_size_that_other_calls_have_used_are_no_doubt() -> None:
    loss = FixedGradient(scaled=False)
    loss.gradient(0, torch.ones(2, 3))  # of the same network, not compiled
    step = TrainingStep(
        ChangesSize(2, 2).train(), (torch.ones(8, 3),), {}, loss=loss, device_type="cpu"
    )
    call(step)
    loss.gradient(0, torch.ones(3, 2).T)
    call(step)
    assert step.doubt is None
