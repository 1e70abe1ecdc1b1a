"""Networks with complex, sparse, nested or discrete results, from the case to its verdict.

The verdict is that of `bench.worker.jobs.verify`, which asks the witnesses where it has to.
"""

import csv
import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.core.protocol import Budget, Job, Request
from bench.core.records import Case, StaticMetrics
from bench.worker import case_process
from bench.worker.checks.numerics import NumericsResult
from bench.worker.checks.values import LABELS
from bench.worker.jobs import reference, verify
from bench.worker.model.build import prepare
from bench.worker.model.step_inputs import StepError
from tests.support.cases import case
from tests.whole.test_end_to_end import bench
from tests.worker.checks.test_numerics import built

CHANNELS_LAST = {"memory_format": "channels_last"}
BFLOAT16 = {"dtype": "bfloat16"}


@pytest.fixture(autouse=True)
def _a_busy_machine_takes_nothing_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reference, "MOST_WITNESSED_S", 1e9)


def odd(subject: str, input_: str = "own", **settings: Any) -> Case:
    return case(
        **{"subject": f"tests.subjects.odd_outputs:{subject}", "batch": 3, "input": input_}
        | settings
    )


def verdict(one: Case, folder: Path) -> NumericsResult:
    made = built(one)
    kept, whole = folder / "kept.pt", folder / "whole.pt"
    verify.keep_first_call(made, kept)
    if made.prepared.layer is None:
        reference.save(reference.of_whole(one), whole)
    return verify.compare_with_reference(made, kept, str(whole))


@pytest.mark.parametrize("mode", ["inference", "training"])
@pytest.mark.parametrize(
    ("subject", "input_"),
    [
        ("Spectral", "4,16"),
        ("Turned", "8"),
        ("ToSpectrum", "16"),
        ("ComplexLinear", "8:complex64"),
        ("ComplexLinear/fc", "8:complex64"),
        ("Policy", "8"),
        ("PutsOutItsMask", "6,8"),
        ("Gaussian", "8"),
        ("Objects", "8"),
        ("Family/first", "8"),
        ("HoldsItself", "8"),
        ("SparseGraph", "own"),
        ("SparseGraph/fc", "own"),
        ("SparseGraph(csr=True)", "own"),
        ("Sequences", "own"),
        ("Sequences('strided')", "own"),
        ("LossOfTargets", "8"),
    ],
)
def test_what_is_right_is_verified(subject: str, input_: str, mode: str, tmp_path: Path) -> None:
    seen = verdict(odd(subject, input_, mode=mode), tmp_path)
    assert (seen.wrong, seen.doubt) == (None, None)
    assert 0 < seen.errors["output"] < 1e-6
    assert ("gradients" in seen.errors) is (mode == "training")


@pytest.mark.parametrize(
    ("dtype", "kept"),
    [
        ("float32", torch.complex64),
        ("float64", torch.complex128),
        ("float16", torch.complex32),
        ("bfloat16", torch.complex64),
    ],
)
def test_complex_weights_stay_complex_in_every_precision(dtype: str, kept: torch.dtype) -> None:
    module: Any = prepare(odd("Turned", "8", dtype=dtype)).module
    assert module.turn.dtype is kept
    assert module.fc.weight.dtype is getattr(torch, dtype)
    assert torch.allclose(
        module.turn.to(torch.complex64).imag, torch.arange(1.0, 5.0).sin(), atol=1e-3
    )


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_coarse_real_numbers_beside_complex_ones_are_verified(dtype: str, tmp_path: Path) -> None:
    seen = verdict(odd("Turned", "8", dtype=dtype), tmp_path)
    assert (seen.wrong, seen.doubt) == (None, None)
    assert seen.errors["output"] < 0.01


@pytest.mark.parametrize(
    ("subject", "input_", "settings", "words"),
    [
        ("ComplexLinear", "8:complex64", BFLOAT16, "torch has no complex numbers of it"),
        ("ComplexLinear", "8:complex64", {"dtype": "float16"}, "for 'ComplexHalf'"),
        ("Spectral", "4,16", {"dtype": "float16"}, "Unsupported dtype Half"),
        ("LabelMap", "3,12,12", {"mode": "training"}, "it is int64, and whole numbers have none"),
        ("quantised()", "16", {"mode": "training"}, "torch has no derivative of an operator"),
    ],
)
def test_what_torch_cannot_do_is_unsupported_and_says_so(
    subject: str, input_: str, settings: dict[str, Any], words: str
) -> None:
    def call() -> None:
        made = built(odd(subject, input_, **settings))
        made.step.prepare(1)
        made.step()

    with pytest.raises(Exception, match=words) as caught:
        call()
    status, reason = case_process.describe(caught.value)
    assert status == "unsupported"
    assert words in reason


def test_an_output_that_cannot_be_looked_into_is_named() -> None:
    made = built(odd("Generates", "8"))
    with pytest.raises(StepError, match="no tensor was found in the output, a generator"):
        made.step()


@pytest.mark.parametrize(
    ("subject", "input_", "settings"),
    [
        ("LabelMap(score=True)", "3,12,12", CHANNELS_LAST),
        ("LabelMap", "3,12,12", BFLOAT16),
        ("Mask", "400", BFLOAT16),
        ("Quantizer", "64,16", BFLOAT16),
        ("Quantizer", "64,16", {**BFLOAT16, "mode": "training"}),
        ("Quantizer", "64,16", {"dtype": "float16"}),
        ("Quantizer", "64,16", {"amp": "bfloat16"}),
        ("Above", "400,8", BFLOAT16),
        ("Best", "400,8", BFLOAT16),
        ("Experts", "64,32", BFLOAT16),
        ("Experts", "64,32", {**BFLOAT16, "mode": "training"}),
    ],
)
def test_a_choice_between_near_ties_may_fall_otherwise(
    subject: str, input_: str, settings: dict[str, Any], tmp_path: Path
) -> None:
    seen = verdict(odd(subject, input_, batch=8, **settings), tmp_path)
    assert (seen.wrong, seen.doubt) == (None, None)
    assert seen.errors


@pytest.mark.parametrize(
    ("subject", "input_", "settings", "words"),
    [
        ("LabelMap(wrong=True)", "3,12,12", CHANNELS_LAST, "labels: 432 of 432 whole numbers"),
        ("LabelMap(wrong=True, score=True)", "3,12,12", CHANNELS_LAST, "labels: 432 of 432"),
        ("Mask(wrong=True)", "400", BFLOAT16, "whole numbers of the output are others"),
        ("Quantizer(wrong=True)", "64,16", BFLOAT16, "output differ from float64 eager"),
        ("Above(wrong=True)", "400,8", BFLOAT16, "rows have no equal on the other side"),
        ("Best(wrong=True)", "400,8", BFLOAT16, "labels: 60 of 60"),
        ("Experts(wrong=True)", "64,32", BFLOAT16, "output differ from float64 eager"),
    ],
)
def test_another_choice_everywhere_is_wrong(
    subject: str, input_: str, settings: dict[str, Any], words: str, tmp_path: Path
) -> None:
    seen = verdict(odd(subject, input_, **settings), tmp_path)
    assert words in str(seen.wrong)


@pytest.mark.parametrize(
    ("right", "wrong", "input_", "words"),
    [
        ("SparseGraph", "SparseGraph(wrong=True)", "own", "output differ"),
        ("ToSpectrum", "ToSpectrum(wrong=True)", "16", "output differ"),
        ("Policy", "Policy(wrong=True)", "8", "3 of 18 numbers of its tensor 1 (3, 6) are infini"),
    ],
)
def test_float32_code_that_is_wrong_is_found_even_if_float32_eager_code_is(
    right: str, wrong: str, input_: str, words: str, tmp_path: Path
) -> None:
    assert verdict(odd(right, input_), tmp_path).wrong is None
    assert words in str(verdict(odd(wrong, input_), tmp_path).wrong)


def test_nan_where_the_reference_has_a_number_is_wrong_and_its_place_named(tmp_path: Path) -> None:
    seen = verdict(odd("NotANumber", "8"), tmp_path)
    words = (
        "output: 3 of 24 numbers of its tensor 1 (3, 8) are NaN, and finite in float64 eager code"
    )
    assert seen.wrong == words


def test_an_output_of_no_element_says_that_nothing_was_compared(tmp_path: Path) -> None:
    seen = verdict(odd("FindsNothing", "4"), tmp_path)
    assert seen.doubt == "the output has no element, so that there is nothing to compare"
    assert verdict(odd("FindsNothing", "4", mode="training"), tmp_path).errors["gradients"] == 0.0


def static_metrics_of(one: Case, folder: Path, reference_s: float = 1e9) -> StaticMetrics:
    def ask(job: Job) -> StaticMetrics:
        request = Request(
            job=job, case=one, replicate=0, calls=None, budget=Budget(), cache="", log="",
            out=str(folder / "out.json"), timeout_s=60, reference=str(folder / "reference.pt"),
            reference_s=reference_s,
        )  # fmt: skip
        found = case_process.JOBS[job](request)
        assert isinstance(found, StaticMetrics)
        return found

    ask("reference")
    return ask("static_metrics")


@pytest.mark.slow
def test_infinities_count_as_meant_only_where_a_reference_has_them(tmp_path: Path) -> None:
    assert static_metrics_of(odd("Policy", "8"), tmp_path).invalid is None
    (tmp_path / "reference.pt").unlink()
    invalid = static_metrics_of(odd("Policy", "8"), tmp_path, 0.0).invalid
    assert invalid is not None
    assert invalid.startswith(
        "the output is not finite: 6 of 18 numbers of its tensor 1 (3, 6) are infinite, and no "
        "reference says that they are meant: the float64 reference would take over"
    )


@pytest.mark.slow
def test_a_loss_that_needs_targets_is_passed_over_and_said(tmp_path: Path) -> None:
    problems = static_metrics_of(odd("LossOfTargets", "8", mode="training"), tmp_path).problems
    assert problems["loss"].startswith("the method loss(output: ")
    assert "needs more than the output, so a fixed gradient stands for it" in problems["loss"]
    assert "relative_error" not in problems


def test_inputs_whose_dtype_is_given_take_the_precision_of_the_reference() -> None:
    asked = "3:float32; 4:int64<5; 5:complex64; 6:bfloat16; 2"
    plain = reference.plain(dataclasses.replace(case(), input=asked), "float64")
    assert plain.input == "3:float64; 4:int64<5; 5:complex128; 6:float64; 2"
    single = reference.plain(dataclasses.replace(case(), input=asked), "float32")
    assert single.input == "3:float32; 4:int64<5; 5:complex64; 6:float32; 2"


def test_witnesses_are_not_asked_for_where_nothing_is_suspected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object) -> None:
        raise AssertionError("asked for witnesses")

    monkeypatch.setattr(reference, "witnesses", never)
    assert verdict(odd("Spectral", "4,16"), tmp_path).doubt is None


def test_a_wrong_result_stays_wrong_where_no_witness_can_be_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reference, "WITNESSES", 0)
    seen = verdict(odd("LabelMap(wrong=True)", "3,12,12", **CHANNELS_LAST), tmp_path)
    assert "432 of 432" in str(seen.wrong)
    assert LABELS in seen.errors


SWEEP = """
[run]
replicates = 1
max_replicates = 1
samples_s = 0.02
warmup_s = 0.01

[[sweep]]
allocator = "retained"
subject = [
    "tests.subjects.odd_outputs:Policy", "tests.subjects.odd_outputs:Policy(wrong=True)",
    "tests.subjects.odd_outputs:Gaussian", "tests.subjects.odd_outputs:NotANumber",
]
input = "8"
batch = 4
mode = "inference"
device = "cpu"
"""


@pytest.mark.slow
def test_the_rows_of_a_run_are_ok_where_the_output_is_right_and_name_what_is_not(
    tmp_path: Path,
) -> None:
    (tmp_path / "bench.toml").write_text(SWEEP)
    done = bench(tmp_path, "run", "--out", "run")
    with (tmp_path / "run" / "measurements.csv").open() as file:
        rows = {row["subject"].partition(":")[2]: row for row in csv.DictReader(file)}
    assert {name: row["status"] for name, row in rows.items()} == {
        "Policy": "ok",
        "Policy(wrong=True)": "invalid",
        "Gaussian": "ok",
        "NotANumber": "invalid",
    }, done.stderr
    for name in ("Policy", "Gaussian"):
        assert 0 < float(rows[name]["relative_error"]) < 1e-6
        assert "unverified" not in rows[name]["flags"]
    assert (
        "4 of 24 numbers of its tensor 1 (4, 6) are infinite, and not so"
        in (rows["Policy(wrong=True)"]["reason"])
    )
    assert "4 of 32 numbers of its tensor 1 (4, 8) are NaN" in rows["NotANumber"]["reason"]
