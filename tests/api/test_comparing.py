"""`bench.compare`: callables that take turns, and whether they compute the same."""

import random
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import bench
from bench.api import comparing
from bench.api.comparing import Compared
from bench.api.session import SessionError
from tests.api.models import restless, small
from tests.api.state import unchanged

QUICK: dict[str, Any] = {"samples_s": 0.001, "warmup_s": 0.0}


def compared(functions: Any, *args: Any, **more: Any) -> Compared:
    found = bench.compare(functions, *args, **QUICK, **more)
    assert isinstance(found, Compared)
    return found


@pytest.mark.parametrize("mode", [None, "training"])
def test_a_comparison_leaves_models_and_process_as_they_were(mode: str | None) -> None:
    one, other, x = restless(), restless(), torch.randn(6, 4)
    found = unchanged(lambda: compared({"a": one, "b": other}, x, mode=mode), one, other)
    assert isinstance(found, Compared)
    assert found.outputs["b"].why.startswith("outputs are equal, bit for bit")


def test_the_speedup_is_the_time_of_the_first_by_that_of_the_other() -> None:
    found = comparing.speedup([2.0, 2.2, 1.8, 2.0], [1.0, 1.1, 0.9, 1.0], of=1)
    assert found.ratio == pytest.approx(2.0)
    assert found.low == pytest.approx(2.0)
    assert found.level == 0.95


def test_many_intervals_hold_together() -> None:
    base, other = [2.0, 2.2, 1.8, 2.1], [1.0, 1.2, 0.9, 1.0]
    one, many = (comparing.speedup(base, other, of=count) for count in (1, 5))
    assert many.level == pytest.approx(0.99)
    assert one.low is not None
    assert many.low is not None
    assert many.low < one.low < one.ratio


def test_each_callable_has_the_same_number_of_turns_and_the_slower_one_is_slower() -> None:
    x = torch.randn(64, 64)

    def many(x: Tensor) -> Tensor:
        for _ in range(200):
            x = x.clone()
        return x

    found = compared({"one": lambda x: x.clone(), "many": many}, x)
    assert found.turns >= 10
    assert found.speedup.ratio < 0.5
    assert found.same_outputs
    assert found.sentences[0].startswith("many is slower than one")


def test_outputs_that_differ_are_flagged_and_said() -> None:
    found = compared({"sin": torch.sin, "cos": torch.cos}, torch.linspace(0, 1, 50))
    assert "outputs-differ" in found.flags
    assert not found.same_outputs
    assert "outputs differ by" in found.sentences[0]
    assert "outputs differ" in repr(found)


def test_rounding_is_not_a_difference() -> None:
    x = torch.randn(100, 300)
    found = compared({"sum": lambda x: x.sum(1), "flipped": lambda x: x.flip(1).sum(1)}, x)
    assert found.same_outputs
    assert "but for rounding" in found.outputs["flipped"].why


def test_another_shape_another_form_and_other_nans_are_differences() -> None:
    x = torch.ones(2, 3)
    found = compared(
        {
            "base": lambda x: x,
            "shape": lambda x: x.sum(0),
            "form": lambda x: {"y": x},
            "nan": lambda x: x / (x - 1) * (x - 1),
        },
        x,
    )
    assert found.outputs["shape"].why == (
        "the shape of output tensor 1 is (3,), that of the base (2, 3)"
    )
    assert found.outputs["form"].why == "the output is {'y': tensor}, that of the base tensor"
    assert "6 of 6 numbers" in found.outputs["nan"].why
    assert not any(one.same for one in found.outputs.values())


def test_a_mask_of_infinities_is_not_one_of_the_lowest_number() -> None:
    lowest = torch.finfo(torch.float32).min
    found = compared(
        {
            "infinite": lambda x: x.masked_fill(x > 1, -torch.inf),
            "lowest": lambda x: x.masked_fill(x > 1, lowest),
            "same": lambda x: x.masked_fill(x > 1, -torch.inf),
        },
        torch.tensor([0.0, 2.0, torch.nan]),
    )
    assert "infinite at different places" in found.outputs["lowest"].why
    assert found.outputs["same"].why == "outputs are equal, bit for bit"


def test_a_backward_that_is_wrong_is_found_in_training() -> None:
    class Detached(nn.Module):
        def __init__(self, inner: nn.Sequential) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.inner(x)
            return out + (out - out.detach())

    model = small()
    found = compared({"right": model, "twice": Detached(model)}, torch.randn(5, 4), mode="training")
    assert found.outputs["twice"].why.startswith("gradients differ by 1.0e+00")


def test_the_same_random_numbers_are_drawn_by_each() -> None:
    model = nn.Sequential(nn.Dropout(0.5))
    found = compared({"a": lambda x: model(x), "b": lambda x: model(x)}, torch.ones(100))
    assert found.outputs["b"].why == "outputs are equal, bit for bit"


def test_each_starts_with_the_same_attributes() -> None:
    """A cache that the first call makes is there in no other first call."""

    class Caching(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.past: list[Tensor] = []
            self.calls = 0

        def forward(self, x: Tensor) -> Tensor:
            self.past.append(x)
            self.calls += 1
            return torch.stack(self.past).sum(0) * self.calls

    model = Caching()
    found = compared({"a": lambda x: model(x), "b": lambda x: model(x)}, torch.ones(3))
    assert found.outputs["b"].why == "outputs are equal, bit for bit"
    assert (model.past, model.calls) == ([], 0)


def test_accelerators_that_are_not_in_use_are_not_seeded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing would put their random numbers back."""
    seeded: list[int] = []
    monkeypatch.setattr(torch.cuda, "manual_seed_all", seeded.append)
    compared({"a": nn.Dropout(), "b": nn.Dropout()}, torch.ones(100), mode="training")
    assert seeded == []


class Noisy(nn.Module):
    """Draws from generators of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.own = torch.Generator().manual_seed(3)
        self.draw = random.Random(3)
        self.numbers = np.random.default_rng(3)
        self.older = np.random.RandomState(3)

    def forward(self, x: Tensor) -> Tensor:
        drawn = self.draw.random() + self.numbers.random() + self.older.rand()
        return x * torch.rand(3, generator=self.own) * drawn

    def states(self) -> list[str]:
        own = self.own.get_state().tolist()
        numbers, older = self.numbers.bit_generator.state, self.older.get_state()
        return [repr(one) for one in (own, self.draw.getstate(), numbers, older)]


def test_generators_of_their_own_are_restored_for_each_and_at_the_end() -> None:
    model = Noisy()
    closed = torch.Generator().manual_seed(5)
    expected, after = model.states(), closed.get_state()

    def noisy(x: Tensor) -> Tensor:
        out: Tensor = model(x) * torch.rand(3, generator=closed)
        return out

    found = compared({"a": noisy, "b": lambda x: noisy(x)}, torch.ones(3))
    assert found.outputs["b"].why == "outputs are equal, bit for bit"
    assert model.states() == expected
    assert torch.equal(closed.get_state(), after)


def test_each_starts_with_the_same_buffers() -> None:
    class Counting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("calls", torch.zeros(1))
            self.calls: Tensor

        def forward(self, x: Tensor) -> Tensor:
            self.calls += 1
            return x * self.calls

    model = Counting()
    found = compared({"a": lambda x: model(x), "b": lambda x: model(x)}, torch.ones(3))
    assert found.outputs["b"].why == "outputs are equal, bit for bit"


def test_calls_that_leave_more_behind_and_outputs_without_numbers_are_said() -> None:
    model = restless()
    found = compared({"a": model, "b": lambda x: x / 0 - x / 0}, torch.ones(6, 4))
    assert "growing" in found.flags
    assert any("each call leaves more behind in seen" in one for one in found.doubts)
    assert any(one.startswith("b: ") and "NaN" in one for one in found.doubts)


def test_a_single_callable_is_refused() -> None:
    with pytest.raises(SessionError, match="two or more callables by name"):
        bench.compare({"alone": torch.sin}, torch.ones(2))


def test_the_only_speedup_is_asked_for_where_there_are_several() -> None:
    found = compared({"a": torch.sin, "b": torch.sin, "c": torch.sin}, torch.ones(2))
    with pytest.raises(SessionError, match=r"choose one of speedups\['b'\], speedups\['c'\]"):
        _ = found.speedup


def test_a_comparison_is_short_in_a_terminal_and_a_table_in_a_notebook() -> None:
    found = compared({"<a>": torch.sin, "b": torch.sin}, torch.ones(2))
    assert repr(found).startswith("<against <a>: b ")
    assert "in-process" in repr(found)
    assert "<td>&lt;a&gt;</td>" in found._repr_html_()


def test_the_package_of_that_name_is_still_one() -> None:
    from bench.compare.groups import Span

    assert Span(2.0).inverse.value == 0.5
