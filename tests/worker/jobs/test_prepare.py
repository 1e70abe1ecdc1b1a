"""The comparison of the settings that ran with the request, before and after the samples.

In this process, and compiled by dynamo alone: `test_faults` and `test_state` go the way of a run.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from bench.core.protocol import Budget, Request
from bench.worker import case_process
from bench.worker.checks import state
from bench.worker.device import cuda, torch_private
from bench.worker.device.device import open_device
from bench.worker.jobs import prepare
from bench.worker.jobs.prepare import BuiltCase, Invalid, begin, end, flags, no_recompiles
from bench.worker.model import inplace
from bench.worker.model.build import load
from bench.worker.model.step import TrainingStep
from bench.worker.model.step_inputs import StepError, UnsupportedError
from bench.worker.timing import call_timing
from tests.subjects import models
from tests.support import fake_compiler
from tests.support.cases import case


@pytest.fixture(autouse=True)
def _switches_are_put_back() -> Iterator[None]:
    stood = state.switches()
    yield
    state.restore_switches(stood)


@pytest.fixture
def dynamo(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)  # the cache of the compiler is made there
    for name in ("TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR"):
        monkeypatch.setenv(name, str(tmp_path))  # so that what the code sets is taken back
    fake_compiler.install(monkeypatch)


def build(subject: str, **settings: Any) -> BuiltCase:
    asked = case(subject=f"tests.subjects.{subject}", **{"batch": 2, "input": "4", **settings})
    return prepare.build(
        Request(
            job="measure",
            case=asked,
            replicate=0,
            calls=None,
            budget=Budget(),
            cache="unused",
            out="unused",
            log="unused",
            timeout_s=60.0,
        )
    )


def call(built: BuiltCase) -> None:
    built.step.prepare(1)
    built.step()


@pytest.mark.parametrize(
    ("subject", "settings", "words"),
    [
        ("turncoats:Deterministic", {}, "deterministic is True, should be False"),
        ("hostile:GoesToEval", {"mode": "training"}, "training is False, should be True"),
        ("hostile:IgnoresAutocast", {"amp": "bfloat16"}, "the layers put out float32 100%"),
    ],
)
def test_what_is_not_as_asked_is_refused_before_the_samples(
    subject: str, settings: dict[str, Any], words: str
) -> None:
    with pytest.raises(Invalid, match=words):
        begin(build(subject, **settings))


@pytest.mark.parametrize(
    ("looked", "first_call_s", "looks"),
    [(False, 5.0, True), (True, 5.0, False), (True, 0.01, True)],
)
def test_a_slow_call_is_looked_at_once_in_all_replicates_and_a_short_one_in_each(
    monkeypatch: pytest.MonkeyPatch, *, looked: bool, first_call_s: float, looks: bool
) -> None:
    built = build("hostile:Small")
    monkeypatch.setattr(call_timing, "first_call", lambda step, _: step() or first_call_s)
    begun = begin(replace(built, request=replace(built.request, looked=looked)))
    assert ("output_dtypes" in begun.state) is looks
    assert (begun.work is not None) is looks
    assert begun.calls == (2 if looks else 1)


def test_what_was_turned_during_the_samples_is_refused_after_them() -> None:
    built = build("hostile:Small")
    begun = begin(built)
    torch.set_float32_matmul_precision("medium")
    with pytest.raises(Invalid, match="matmul_precision is medium, should be highest"):
        end(built, begun, 0.001)


def test_an_iterator_of_the_module_that_the_first_call_uses_up_is_refused() -> None:
    words = r"^steps is or holds an iterator \(list_iterator\), which the calls have used up"
    with pytest.raises(UnsupportedError, match=words):
        begin(build("hostile:UsesUpAnIterator"))


def test_an_iterator_that_a_layer_used_up_inside_its_network_is_refused() -> None:
    with pytest.raises(UnsupportedError, match=r"steps is or holds an iterator"):
        begin(build("hostile:in_a_part/0"))


def test_an_iterator_of_the_module_that_ends_in_the_samples_is_refused() -> None:
    built = build("hostile:UsesUpAGenerator")
    begun = begin(built)
    for _ in range(10):
        call(built)
    with pytest.raises(UnsupportedError, match=r"^held is or holds an iterator \(generator\)"):
        end(built, begun, 0.001)


def test_an_iterator_that_no_call_reads_and_one_that_each_call_makes_are_fine() -> None:
    built = build("hostile:KeepsAnIterator")
    begun = begin(built)
    call(built)
    _, seen = end(built, begun, 0.001)
    assert "doubts" not in seen


@pytest.mark.parametrize(
    ("subject", "grad_mode"),
    [
        ("CallsAutograd", "no_grad"),
        ("CallsAutograd", "enabled"),
        ("NeedsGradients", "enabled"),
        ("Small", "inference_mode"),
        ("Small", "no_grad"),
    ],
)
def test_a_forward_runs_under_the_grad_mode_that_was_asked_for(
    subject: str, grad_mode: str
) -> None:
    assert begin(build(f"hostile:{subject}", grad_mode=grad_mode)).state["grad_mode"] == grad_mode


@pytest.mark.parametrize(
    ("subject", "grad_mode", "words"),
    [
        ("CallsAutograd", "inference_mode", "give --grad-mode no_grad or enabled"),
        ("NeedsGradients", "no_grad", "give --grad-mode enabled"),
    ],
)
def test_a_forward_that_takes_gradients_is_unsupported_and_told_what_to_ask_for(
    subject: str, grad_mode: str, words: str
) -> None:
    with pytest.raises(StepError) as caught:
        begin(build(f"hostile:{subject}", grad_mode=grad_mode))
    status, reason = case_process.describe(caught.value)
    assert status == "unsupported"
    assert words in reason


def test_a_subject_that_turns_the_grad_mode_in_its_forward_is_refused() -> None:
    with pytest.raises(Invalid, match="grad_mode is enabled, should be no_grad"):
        begin(build("hostile:SwitchesGradientsOn", grad_mode="no_grad"))


def test_as_built_keeps_the_dtypes_that_a_subject_mixes() -> None:
    built = build("hostile:MixedDtypes", dtype="as-built")
    assert begin(built).state["weight_dtypes"] == {"bfloat16": 20, "float32": 10}
    assert built.step.output.dtype == torch.float32
    assert built.prepared.args[0].dtype == torch.float32


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_mixed_dtypes_that_one_dtype_breaks_are_named_with_what_keeps_them(dtype: str) -> None:
    with pytest.raises(StepError) as caught:
        begin(build("hostile:MixedDtypes", dtype=dtype))
    status, reason = case_process.describe(caught.value)
    assert status == "unsupported"
    assert reason.startswith(
        f"the subject is built in bfloat16 and float32, and {dtype} alone is not supported by it: "
        "give --dtype as-built"
    )


def test_mixed_dtypes_that_follow_their_weights_run_in_one_dtype_as_well() -> None:
    begun = begin(build("hostile:FollowsItsWeights", dtype="bfloat16"))
    assert begun.state["weight_dtypes"] == {"bfloat16": 30}


def test_an_output_that_is_not_finite_is_refused_and_its_place_named() -> None:
    built = build("hostile:NotFinite")
    begun = begin(built)
    with pytest.raises(Invalid, match=r"8 of 8 numbers of its tensor 1 \(2, 4\) are infinite"):
        end(built, begun, 0.001)


def test_the_call_that_is_timed_as_the_first_is_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    built = build("hostile:Small")
    outputs: list[Any] = []

    def first_call(step: Any, _device: object) -> float:
        outputs.append(step.output)
        call(built)
        return 0.5

    monkeypatch.setattr(call_timing, "first_call", first_call)
    found, _ = end(built, begin(built), 0.001)
    assert outputs == [None]
    assert found == {"first_call_s": 0.5}


CONVOLVES: dict[str, Any] = {"subject": "models:Residual", "input": "3,8,8"}


class Calls:
    """Times what are made as first calls as told, and notes how cuDNN is set in each."""

    def __init__(self, *times_s: float) -> None:
        self.times_s = iter(times_s)
        self.flags: list[tuple[bool, bool]] = []

    def __call__(self, step: Any, _device: object) -> float:
        flags = torch.backends.cudnn
        self.flags.append((flags.benchmark, flags.deterministic))
        step.prepare(1)
        step()
        return next(self.times_s)


def test_cudnn_searches_in_a_call_of_its_own_after_all_is_loaded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls = Calls(0.5, 0.08)
    monkeypatch.setattr(call_timing, "first_call", calls)
    built = build(**CONVOLVES, cudnn_benchmark="on")
    found, _ = end(built, begin(built), 0.01)
    assert calls.flags == [(False, True), (True, False)]
    # As users wait for it: what loads, what searches, and the work a single time.
    assert found == {"first_call_s": pytest.approx(0.57), "tuning_s": pytest.approx(0.07)}


@pytest.mark.parametrize(
    "settings",
    [
        {**CONVOLVES, "cudnn_benchmark": "off"},
        {"subject": "hostile:Small", "cudnn_benchmark": "on"},
    ],
)
def test_without_a_search_there_is_one_first_call_as_it_was_asked_for(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any]
) -> None:
    calls = Calls(0.5)
    monkeypatch.setattr(call_timing, "first_call", calls)
    built = build(**settings)
    found, _ = end(built, begin(built), 0.01)
    assert calls.flags == [(settings["cudnn_benchmark"] == "on", False)]
    assert found == {"first_call_s": 0.5}


def test_a_search_that_takes_no_time_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(call_timing, "first_call", Calls(0.5, 0.009))
    built = build(**CONVOLVES, cudnn_benchmark="on")
    found, _ = end(built, begin(built), 0.01)
    assert found == {"first_call_s": 0.5, "tuning_s": 0.0}


def test_the_forward_that_catches_a_layers_input_searches_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    flags = torch.backends.cudnn
    seen: list[tuple[bool, bool]] = []
    of_parent = models.Residual.forward

    def forward(self: Any, x: torch.Tensor) -> torch.Tensor:
        seen.append((flags.benchmark, flags.deterministic))
        return of_parent(self, x)

    monkeypatch.setattr(models.Residual, "forward", forward)
    built = build("models:Residual/first", input="3,8,8", cudnn_benchmark="on")
    assert set(seen) == {(False, True)}
    assert (flags.benchmark, flags.deterministic) == (True, False)
    begin(built)


def scaled() -> tuple[BuiltCase, TrainingStep]:
    built = build("hostile:Small", mode="training", amp="float16", batch=256)
    assert isinstance(built.step, TrainingStep)
    return built, built.step


def test_a_grad_scaler_has_settled_before_the_samples() -> None:
    built, step = scaled()
    begun = begin(built)
    assert begun.skipped_steps > 2  # more than there are calls before the samples anyway
    for _ in range(5):
        call(built)
    assert step.skipped_steps == begun.skipped_steps
    end(built, begun, 0.001)


def test_a_step_that_was_skipped_among_the_samples_is_refused() -> None:
    built, step = scaled()
    begun = begin(built)
    assert step._scaler is not None
    step._scaler.update(2.0**40)  # what float16 cannot hold
    call(built)
    with pytest.raises(Invalid, match="GradScaler skipped 1 step while timed"):
        end(built, begun, 0.001)


def test_a_row_whose_products_run_otherwise_than_its_tf32_asks_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    built = build("hostile:Small")
    built = replace(built, case=replace(built.case, tf32="off"))
    seen = state.global_state
    monkeypatch.setattr(state, "global_state", lambda *of: {**seen(*of), "tf32": "off"})
    assert begin(built).state["tf32_in_products"] == "off"
    monkeypatch.setattr(cuda, "tf32_in_products", lambda _: "on")
    with pytest.raises(Invalid, match="matrix products run with tf32=on"):
        begin(built)


@pytest.mark.usefixtures("dynamo")
def test_eager_code_under_the_name_of_compiled_code_is_refused() -> None:
    built = build("hostile:WithoutCompiling", compile="default")
    begun = begin(built)
    with pytest.raises(Invalid, match="nothing was compiled"):
        end(built, begun, 0.001)


@pytest.mark.usefixtures("dynamo")
@pytest.mark.parametrize("recorded", [True, False, None])
def test_a_row_of_cuda_graphs_needs_one_that_was_recorded(
    monkeypatch: pytest.MonkeyPatch, recorded: bool | None
) -> None:
    monkeypatch.setattr(torch_private, "cuda_graph_recorded", lambda: recorded)
    built = replace(build("hostile:Small", compile="default"), graphs=True)
    begun = begin(built)
    if recorded is False:
        with pytest.raises(Invalid, match="no CUDA graph was recorded"):
            end(built, begun, 0.001)
        return
    _, seen = end(built, begun, 0.001)
    assert seen["cuda_graphs"] == ("recorded" if recorded else "unknown")


@pytest.mark.usefixtures("dynamo")
def test_compiled_layers_are_held_against_what_was_asked_for_as_well() -> None:
    built = build("hostile:IgnoresAutocast", compile="default", amp="bfloat16")
    begun = begin(built)
    with pytest.raises(Invalid, match="the layers put out float32 100%"):
        end(built, begun, 0.001)


@pytest.mark.usefixtures("dynamo")
def test_a_recompile_among_the_samples_raises_and_is_invalid() -> None:
    built = build("hostile:RecompilesEachTime", compile="default")
    begin(built)
    with no_recompiles(built.case), pytest.raises(RuntimeError) as caught:
        call(built)
    status, reason = case_process.describe(caught.value)
    assert status == "invalid"
    assert reason.startswith("recompiled inside the samples: ")


@pytest.mark.usefixtures("dynamo")
def test_what_a_first_call_caches_has_recompiled_before_the_samples() -> None:
    built = build("hostile:CachesInItsFirstCall", compile="default")
    begun = begin(built)
    with no_recompiles(built.case):
        call(built)
    found, _ = end(built, begun, 0.001)
    assert (found["recompiles"], found["graph_breaks"]) == (1, 0)


@pytest.mark.parametrize(
    ("subject", "words"),
    [
        ("compiled_already()", r"the subject is compiled already \(itself\)"),
        ("CompiledPart", r"the subject is compiled already \(fc\)"),
        ("CompilesAFunction", r"the subject compiles code of its own in its forward \(1 frames\)"),
    ],
)
@pytest.mark.usefixtures("dynamo")
def test_compiled_code_under_the_name_of_eager_code_is_refused(subject: str, words: str) -> None:
    with pytest.raises(Invalid, match=words):
        begin(build(f"hostile:{subject}"))


@pytest.mark.parametrize(
    ("layer", "part"),
    [
        ("placed", "placed"),
        ("placed.0", "placed"),
        ("wrapped.0", "wrapped"),
        ("wrapped.1", "wrapped and 1 more"),
        ("wrapped", "wrapped and 1 more"),
    ],
)
@pytest.mark.usefixtures("dynamo")
def test_a_layer_in_or_around_a_compiled_part_is_refused(layer: str, part: str) -> None:
    with pytest.raises(Invalid, match=rf"is compiled already \({part}"):
        begin(build(f"hostile:CompiledBeside/{layer}", input="3"))


@pytest.mark.parametrize(
    "layer", ["CompiledBeside/plain", "CompiledBeside/plain.0", "CompilesAFunction/fc"]
)
@pytest.mark.usefixtures("dynamo")
def test_a_plain_layer_beside_a_compiled_part_is_measured(layer: str) -> None:
    built = build(f"hostile:{layer}", input="4" if "Function" in layer else "3")
    begun = begin(built)
    call(built)
    found, seen = end(built, begun, 0.001)
    assert found["first_call_s"] > 0
    assert "compile_cold_s" not in found  # it ran as plain code
    assert flags(seen) == ()


@pytest.mark.usefixtures("dynamo")
@pytest.mark.parametrize("subject", ["compiled_already()", "CompiledPart", "CompilesAFunction"])
def test_what_is_compiled_already_is_compiled_as_the_case_asks(subject: str) -> None:
    built = build(f"hostile:{subject}", compile="default")
    found, _ = end(built, begin(built), 0.001)
    assert found["graph_breaks"] == 0


def doubt(subject: str, calls: int = 5, **settings: Any) -> str:
    """Of a case that is called so often between its proofs, or nothing."""
    built = build(f"hostile:{subject}", **settings)
    begun = begin(built)
    for _ in range(calls):
        call(built)
    _, seen = end(built, begun, 0.001)
    words = str(seen.get("doubts", {}).get("unsteady", ""))
    assert flags(seen) == (("growing",) if words else ())
    return words


@pytest.mark.parametrize("subject", ["Remembers", "RemembersShallow", "RemembersInADict"])
def test_objects_among_the_inputs_that_a_call_changes_are_restored(subject: str) -> None:
    built = build(f"hostile:{subject}", input="own")
    begin(built)
    call(built)
    first = built.step.output
    call(built)
    assert torch.equal(built.step.output, first)
    assert doubt(subject, input="own") == ""


def test_objects_that_cannot_be_copied_and_change_are_said() -> None:
    words = doubt("RemembersUncopied", input="own")
    assert words.startswith(
        "each call changes its inputs, which cannot be copied (TypeError: one of a kind); "
        "each call does more work than the one before: first 3 operators that put out "
    )


@pytest.mark.parametrize(
    ("subject", "settings", "words"),
    [
        ("Streaming", {}, "each call leaves more behind in past;"),
        ("GrowingBuffer", {}, "each call leaves more behind in past;"),
        ("KeepsInItsFile", {}, "each call leaves more behind in tests.subjects.hostile._PAST;"),
        ("keeps_in_a_closure()", {}, "each call leaves more behind in a hook of the module;"),
        ("ChainsItsGraph", {"grad_mode": "enabled"}, "each call leaves more behind in last"),
    ],
)
def test_what_grows_in_each_call_is_named(
    subject: str, settings: dict[str, Any], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A call without numbers would leave tensors of another device outside of the module.
    monkeypatch.setattr(inplace, "writes_input", lambda *_: False, raising=False)
    assert doubt(subject, calls=5, **settings).startswith(words)


@pytest.mark.parametrize("subject", ["Counts", "SkipsAtRandom", "Small", "ChainsItsGraph"])
def test_what_does_the_same_work_in_each_call_is_not_doubted(subject: str) -> None:
    assert doubt(subject) == ""


def test_the_start_of_a_process_is_told_without_the_import_of_the_subject(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [100.0]

    def slow(real: Any, seconds: float) -> Any:
        def call(*args: Any) -> Any:
            now[0] += seconds
            return real(*args)

        return call

    monkeypatch.setattr(prepare, "wall_clock", lambda: now[0])
    monkeypatch.setattr(prepare, "load", slow(load, 5.0))
    monkeypatch.setattr(prepare, "open_device", slow(open_device, 0.25))
    assert build("hostile:Small").process_start_s == 0.25
