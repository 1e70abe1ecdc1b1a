"""The check of results: pure comparisons, and traps of every kind that torch can set."""

import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from bench.core.protocol import Budget, Request
from bench.core.records import Case
from bench.worker.checks import exact, numerics, rounding
from bench.worker.checks.exact import Reference
from bench.worker.checks.numerics import compare
from bench.worker.checks.values import LABELS, NoReferenceError, Values, gather
from bench.worker.jobs import prepare, reference
from tests.support.cases import case

ONE = (torch.tensor([3.0, 4.0], dtype=torch.float64),)  # norm 5


def values(*numbers: float, group: str = "output") -> Values:
    return Values({group: (torch.tensor(numbers, dtype=torch.float64),)})


def against(rounding: float, *numbers: float, group: str = "output") -> Reference:
    return Reference(values(*numbers, group=group), {group: rounding})


def built(one: Case) -> prepare.BuiltCase:
    return prepare.build(
        Request(
            job="static_metrics", case=one, replicate=0, calls=None, budget=Budget(), cache="",
            out="", log="", timeout_s=60, reference_s=1e9,
        )
    )  # fmt: skip


def verdict(one: Case) -> numerics.NumericsResult:
    made = built(one)
    prepared = made.prepared
    seen = gather(made.step, prepared.module, (prepared.args, prepared.kwargs))
    whole = reference.of_whole(one) if prepared.layer is None else None
    return compare(seen, whole or reference.of_layer(one, prepared), rounding.arithmetic(one))


def test_the_error_is_that_of_all_numbers_of_a_group_together() -> None:
    seen = compare(values(3.0, 4.1), against(1.0, 3.0, 4.0), "float32")
    assert seen.errors["output"] == pytest.approx(0.1 / 5)
    assert seen.wrong is None


@pytest.mark.parametrize(
    ("used", "group", "allowed"),
    [
        ("float32", "output", 32 * 1e-6 / 5),
        ("float32", "gradients", 256 * 1e-6 / 5),
        ("tf32", "output", 16 * 1e-6 / 5 * 2**13),
        ("float16", "gradients", 32 * 1e-6 / 5 * 2**13),
        ("bfloat16", "output", 8 * 1e-6 / 5 * 2**16),
        ("bfloat16", "gradients", 16 * 1e-6 / 5 * 2**16),
    ],
)
def test_what_float32_rounds_has_room_in_proportion_to_the_arithmetic(
    used: str, group: str, allowed: float
) -> None:
    exact = against(1e-6, 3.0, 4.0, group=group)
    seen = compare(values(3.0, 4.0, group=group), exact, used)
    assert seen.allowed[group] == pytest.approx(allowed)


def test_no_room_lets_a_doubled_result_pass() -> None:
    exact = against(1e-5, 3.0, 4.0)  # of which bfloat16 makes 0.13 at most, eightfold over one
    seen = compare(values(6.0, 8.0), exact, "bfloat16")
    assert seen.allowed["output"] == 0.9
    assert seen.wrong is not None


def test_what_is_exact_in_float32_may_still_round_by_eight_of_its_spacings() -> None:
    exact = against(0.0, 3.0, 4.0)
    assert compare(values(3.0, 4.0), exact, "float32").allowed["output"] == 8 * 2**-23
    assert compare(values(3.0, 4.02), exact, "bfloat16").wrong is None
    assert compare(values(3.0, 4.02), exact, "float16").wrong is None
    wrong = compare(values(3.0, 4.00002), exact, "float32").wrong
    assert wrong is not None
    assert "output differ from float64 eager by 4e-06" in wrong


def test_a_result_of_zeros_is_wrong_in_every_arithmetic() -> None:
    for used in rounding.EPS:
        assert compare(values(0.0, 0.0), against(1e-6, 3.0, 4.0), used).wrong


def test_where_rounding_may_do_as_much_as_a_mistake_nothing_is_said() -> None:
    seen = compare(values(0.0, 0.0), against(1e-3, 3.0, 4.0), "bfloat16")
    assert seen.wrong is None
    assert seen.doubt is not None
    assert "rounding may do that" in seen.doubt
    assert compare(values(3.0, 4.0), against(1e-3, 3.0, 4.0), "bfloat16").doubt is None


def test_what_is_too_small_for_float16_is_no_mistake() -> None:
    small = against(0.0, 3e-5, 4e-5)
    seen = compare(values(0.0, 0.0), small, "float16")
    assert seen.wrong is None
    assert "too small" in str(seen.doubt)
    assert compare(values(0.0, 0.0), small, "bfloat16").wrong is not None


def test_not_finite_shapes_and_missing_tensors_are_wrong() -> None:
    exact = against(1.0, 3.0, 4.0)
    assert compare(values(3.0, math.nan), exact, "float32").wrong == (
        "output: 1 of 2 numbers of its tensor 1 (2,) are NaN, and finite in float64 eager code"
    )
    assert "shapes [(3,)]" in str(compare(values(3.0, 4.0, 5.0), exact, "float32").wrong)
    assert "shapes []" in str(compare(Values({}), exact, "float32").wrong)


def test_what_is_exactly_zero_is_measured_by_its_own_rounding() -> None:
    exact = against(1e-7, 0.0, 0.0)
    assert compare(values(1e-7, 0.0), exact, "float32").wrong is None
    assert compare(values(1e-3, 0.0), exact, "float32").wrong == (
        "output should be zero, and has a norm of 0.001"
    )


def test_a_loss_that_float32_happened_to_hit_may_move_as_its_outputs_do() -> None:
    exact = Values({"output": ONE, "loss": (torch.tensor(0.1, dtype=torch.float64),)})
    lucky = Reference(exact, {"output": 5e-6, "loss": 0.0})
    loss = (torch.tensor(0.1 + 1e-5, dtype=torch.float64),)
    assert compare(Values({"output": ONE, "loss": loss}), lucky, "float32").wrong is None
    loss = (torch.tensor(0.101, dtype=torch.float64),)
    assert "loss differ" in str(
        compare(Values({"output": ONE, "loss": loss}), lucky, "float32").wrong
    )


def test_a_seed_that_decides_the_result_leaves_it_unverified() -> None:
    with pytest.raises(
        NoReferenceError, match="under another seed: the module draws random numbers"
    ):
        exact.of(values(1.0, 2.0), values(1.0, 2.0), values(1.0, 0.0))
    made = exact.of(values(1.0, 2.0), values(1.0, 2.5), values(1.0, 2.5))
    assert made.rounding == {"output": 0.5}


def test_few_other_choices_are_no_mistake_where_other_rounding_cannot_be_tried() -> None:
    got, wanted = values(1, 2, 3, 5, group=LABELS), against(0.0, 1, 2, 3, 4, group=LABELS)
    first = compare(got, wanted, "bfloat16")
    assert first.suspected == {LABELS}
    without = compare(got, wanted, "bfloat16", [])
    assert without.wrong is None
    assert "could not be computed with other rounding" in str(without.doubt)
    most = compare(values(5, 6, 7, 4, group=LABELS), wanted, "bfloat16", [])
    assert most.wrong is not None


def test_a_mask_of_infinities_is_the_same_mask() -> None:
    mask = torch.tensor([0.0, -math.inf, 1.0], dtype=torch.float64)
    exact = Reference(Values({"output": ONE}, (mask,)), {"output": 0})
    assert compare(Values({"output": ONE}, (mask.clone(),)), exact, "float32").wrong is None
    with pytest.raises(NoReferenceError, match="other weights or inputs"):
        compare(Values({"output": ONE}, (mask.flip(0).neg(),)), exact, "float32")


def test_builds_with_other_weights_are_not_compared() -> None:
    one = Values({"output": ONE}, (torch.ones(3, dtype=torch.float64),))
    other = Reference(
        Values({"output": ONE}, (torch.zeros(3, dtype=torch.float64),)), {"output": 0}
    )
    with pytest.raises(NoReferenceError, match="other weights or inputs"):
        compare(one, other, "float32")


@pytest.mark.parametrize(
    ("settings", "used"),
    [
        ({}, "float32"),
        ({"amp": "bfloat16"}, "bfloat16"),
        ({"dtype": "float16"}, "float16"),
        ({"dtype": "float16", "amp": "bfloat16"}, "bfloat16"),
        ({"tf32": "on"}, "tf32"),
        ({"tf32": "default"}, "tf32"),
        ({"tf32": "off"}, "float32"),
    ],
)
def test_the_coarsest_arithmetic_in_force_is_allowed_for(
    settings: dict[str, Any], used: str
) -> None:
    assert rounding.arithmetic(dataclasses.replace(case(), **settings)) == used


# --- with torch -----------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["inference", "training"])
@pytest.mark.parametrize(
    ("subject", "input_"),
    [
        ("torch.nn:Linear(5, 3)", "5"),
        ("torch.nn:Conv2d(3, 8, 3, groups=1)", "3,9,9"),
        ("torch.nn:BatchNorm2d(3)", "3,9,9"),
        ("torch.nn:ReLU(inplace=True)", "3,9,9"),
        ("torch.nn:LSTM(5, 3, 2)", "4,5"),
        ("torch.nn:TransformerEncoderLayer(8, 2, 16, 0.0)", "4,8"),
        ("tests.subjects.models:Residual", "3,16,16"),
        ("tests.subjects.models:Residual/relu#2", "3,16,16"),
        ("tests.subjects.models:Recurrent", "4,6"),
        ("tests.subjects.models:Recurrent/lstm#2", "4,6"),
        ("tests.subjects.models:Text/embedding", "own"),
        ("tests.subjects.truths:Complex", "8"),
        ("tests.subjects.truths:SparseGradient", "6:int64<10"),
        ("tests.subjects.truths:OwnLoss", "4"),
        ("tests.subjects.truths:FloatInside", "4"),
    ],
)
def test_what_is_right_is_found_right(subject: str, input_: str, mode: str) -> None:
    seen = verdict(case(subject=subject, mode=mode, batch=3, input=input_))
    assert (seen.wrong, seen.doubt) == (None, None)
    assert seen.errors
    assert max(seen.errors.values()) < 1e-5
    groups = {"output", "gradients"} if mode == "training" else {"output"}
    assert groups <= set(seen.errors) | ({"gradients"} if "Complex" in subject else set())


@pytest.mark.parametrize(
    ("subject", "settings", "words"),
    [
        ("WrongInChannelsLast", {"memory_format": "channels_last"}, "output differ"),
        ("WrongUnderAutocast", {"amp": "bfloat16"}, "output differ"),
        ("WrongGradient", {"mode": "training", "amp": "bfloat16"}, "gradients differ"),
        ("WrongBuffers", {"mode": "training", "amp": "bfloat16"}, "buffers differ"),
        ("WrongLoss", {"mode": "training", "amp": "bfloat16"}, "loss differ"),
        ("WrongShape", {"amp": "bfloat16"}, "output: shapes"),
    ],
)
def test_a_setting_that_changes_the_result_is_found(
    subject: str, settings: dict[str, Any], words: str
) -> None:
    one = case(subject=f"tests.subjects.truths:{subject}", batch=2, input="3,8,8")
    assert verdict(dataclasses.replace(one, mode="training")).wrong is None  # the plain one
    seen = verdict(dataclasses.replace(one, **settings))
    assert words in str(seen.wrong)


@pytest.mark.parametrize(
    ("subject", "words"),
    [
        ("torch.nn:Dropout(0.5)", "draws random numbers"),
        ("tests.subjects.truths:RandomWeights", "other weights"),
        ("tests.subjects.truths:OnlyFloat32", "no float64 reference"),
        ("tests.subjects.truths:NumpyNoise", "draws random numbers"),
    ],
)
def test_what_cannot_be_compared_is_no_mistake(subject: str, words: str) -> None:
    with pytest.raises(NoReferenceError, match=words):
        verdict(case(subject=subject, mode="training", batch=2, input="4"))


def test_dropout_is_verified_where_it_does_nothing() -> None:
    assert verdict(case(subject="torch.nn:Dropout(0.5)", batch=2, input="4")).errors == {
        "output": 0.0
    }


def test_a_reference_that_takes_long_is_not_made() -> None:
    with pytest.raises(NoReferenceError, match="would take over"):
        reference.of_whole(case(subject="torch.nn:Linear(4, 4)", input="4"), 1e-9)


def test_a_reference_is_the_same_after_its_file(tmp_path: Path) -> None:
    path = tmp_path / "one.pt"
    made = reference.of_whole(case(subject="torch.nn:Linear(4, 4)", input="4", mode="training"))
    reference.save(made, path)
    again = reference.load(path)
    assert again.rounding == made.rounding
    assert list(again.values.groups) == ["output", "gradients"]
    for one, other in zip(again.values.groups.values(), made.values.groups.values(), strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_a_reference_that_was_not_made_says_why(tmp_path: Path) -> None:
    path = tmp_path / "one.pt"
    with pytest.raises(NoReferenceError, match="it was not made"):
        reference.load(path)
    path.with_suffix(".txt").write_text("no memory")
    with pytest.raises(NoReferenceError, match="no memory"):
        reference.load(path)


def test_gradients_are_those_of_parameters_and_of_inputs_that_have_any() -> None:
    made = built(
        case(
            subject="tests.subjects.models:Residual/relu#2",
            mode="training",
            batch=2,
            input="3,16,16",
        )
    )
    prepared = made.prepared
    seen = gather(made.step, prepared.module, (prepared.args, prepared.kwargs))
    gradient: Tensor = seen.groups["gradients"][0]
    assert tuple(gradient.shape) == tuple(prepared.args[0].shape)
    assert bool((gradient != 0).any())


def test_a_forward_that_casts_says_so_where_float64_cannot_follow() -> None:
    with pytest.raises(NoReferenceError, match=r"casts to dtypes of its own \(\.float\(\), "):
        reference.of_whole(case(subject="tests.subjects.models:Casts", input="3,8,8", batch=2))
