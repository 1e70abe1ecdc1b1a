"""Real children with subjects that misbehave: one record each, and nothing is left running."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from bench.config import RunOptions
from bench.records import Entry, Failure, Measurement
from bench.session import Folders, Session, collect, request
from tests.cases import case

pytestmark = pytest.mark.slow

Measure = Callable[..., Entry]


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    log = tmp_path_factory.mktemp("session") / "log"
    one = Session(allocator="retained", modules=["tests.hostile"], inductor=False, log=log)
    yield one
    one.close()


@pytest.fixture
def measure(session: Session, tmp_path: Path) -> Measure:
    folders = Folders(tmp_path / "scratch", tmp_path / "failures")
    folders.scratch.mkdir()

    def one(name: str, timeout_s: float = 60.0, **changes: Any) -> Entry:
        fast: dict[str, Any] = {"samples_s": 0.02, "warmup_s": 0.01, "timeout_s": timeout_s}
        hostile = case(subject=f"tests.hostile:{name}", **{"input": "4", "batch": 2, **changes})
        asked = request("measure", hostile, 0, None, RunOptions(**fast), folders)
        ended = session.ask(asked)
        return collect(asked, ended, folders)

    return one


def test_a_replicate_forks(session: Session) -> None:
    assert session.forks


def test_a_well_behaved_subject_is_measured(measure: Measure) -> None:
    found = measure("Small")
    assert isinstance(found, Measurement)
    assert {(one.phase, one.kind) for one in found.samples} == {
        ("forward", "latency"),
        ("forward", "pipelined"),
    }
    assert found.facts["first_call_s"] > 0


@pytest.mark.parametrize(
    ("name", "status", "reason"),
    [
        ("Raises", "error", "RuntimeError: shapes do not fit <b>here</b>"),
        ("RaisesAtTheTenth", "error", "ValueError: tenth call"),
        ("Segfaults", "crash", "ended by SIGSEGV"),
        ("ExitsHard", "crash", "the process ended itself with exit code 3"),
        ("ExitsSoftly", "crash", "SystemExit: enough"),
        ("ClosesStreams", "error", "RuntimeError: in silence"),
        ("Hungry", "oom", "allocate memory"),
        ("NotFinite", "invalid", "the output is not finite"),
        ("TurnsThreads", "invalid", "threads is 1, should be"),
    ],
)
def test_a_subject_that_misbehaves_is_one_record_with_its_reason(
    measure: Measure, name: str, status: str, reason: str
) -> None:
    found = measure(name)
    assert isinstance(found, Failure)
    assert found.status == status
    assert reason in found.reason


def test_a_failure_keeps_its_traceback_and_names_the_file(measure: Measure, tmp_path: Path) -> None:
    found = measure("Raises")
    assert isinstance(found, Failure)
    (kept,) = (tmp_path / "failures").iterdir()
    assert f"failures/{kept.name}" in found.reason
    text = kept.read_text()
    assert "Traceback" in text
    assert found.case.case_id in text


def test_a_subject_that_hangs_ends_at_its_limit(measure: Measure) -> None:
    found = measure("Hangs", timeout_s=2.0)
    assert isinstance(found, Failure)
    assert (found.status, found.reason) == ("timeout", "not done after 2 s (--timeout)")


def test_a_flood_of_output_is_bounded_and_does_not_stop_the_case(
    measure: Measure, tmp_path: Path
) -> None:
    measure("Floods")
    kept = sum(one.stat().st_size for one in tmp_path.rglob("*") if one.is_file())
    assert kept <= 65 * 2**20


@pytest.mark.parametrize("name", ["LeavesAThread", "LeavesAProcess"])
def test_what_a_subject_leaves_running_is_ended(measure: Measure, name: str) -> None:
    assert isinstance(measure(name), Measurement)
    left = [one.info["cmdline"] for one in psutil.process_iter(["cmdline"])]
    assert ["sleep", "3601"] not in left


def test_a_subject_in_the_wrong_mode_is_invalid(measure: Measure) -> None:
    found = measure("GoesToEval", mode="training")
    assert isinstance(found, Failure)
    assert found.status == "invalid"
    assert "training is False, should be True" in found.reason


def test_autocast_that_is_switched_off_inside_is_invalid(measure: Measure) -> None:
    found = measure("IgnoresAutocast", amp="bfloat16")
    assert isinstance(found, Failure)
    assert found.status == "invalid"
    assert "autocast to bfloat16 was asked for, but the layers put out float32" in found.reason


def test_a_layout_that_does_not_propagate_is_invalid(measure: Measure) -> None:
    found = measure("ConvertsBack", input="3,16,16", memory_format="channels_last")
    assert isinstance(found, Failure)
    assert found.status == "invalid"
    assert "channels_last was asked for" in found.reason


def test_batchnorm_with_one_value_a_channel_is_unsupported_in_torchs_own_words(
    measure: Measure,
) -> None:
    found = measure("OneValue", mode="training", batch=1)
    assert isinstance(found, Failure)
    assert found.status == "unsupported"
    assert "Expected more than 1 value per channel" in found.reason


def test_a_module_that_dynamo_skips_is_invalid_and_not_compiled_time(measure: Measure) -> None:
    found = measure("WithoutCompiling", compile="default", timeout_s=120.0)
    assert isinstance(found, Failure)
    assert found.status == "invalid"
    assert "nothing was compiled" in found.reason


def test_a_compiled_module_is_cold_first_and_warm_then(measure: Measure) -> None:
    cold, warm = (measure("Small", compile="default", timeout_s=120.0) for _ in range(2))
    assert isinstance(cold, Measurement)
    assert isinstance(warm, Measurement)
    assert "compile_cold_s" in cold.facts
    assert "compile_warm_s" in warm.facts
    assert cold.facts["graph_breaks"] == 0


def test_the_phases_of_a_layers_training_step_are_measured(measure: Measure) -> None:
    found = measure("Small/fc", mode="training")
    assert isinstance(found, Measurement)
    assert {one.phase for one in found.samples} == {"forward", "backward", "optimizer", "step"}


def test_autocast_switched_off_inside_is_seen_under_compile_as_well(measure: Measure) -> None:
    found = measure("IgnoresAutocast", amp="bfloat16", compile="default", timeout_s=120.0)
    assert isinstance(found, Failure)
    assert found.status == "invalid"
    assert "autocast to bfloat16 was asked for, but the layers put out float32" in found.reason


def test_what_is_cached_in_the_first_call_recompiles_once_and_is_measured(
    measure: Measure,
) -> None:
    found = measure("CachesInItsFirstCall", compile="default", timeout_s=120.0)
    assert isinstance(found, Measurement)
    assert found.facts["recompiles"] == 1


def test_recompiling_in_every_call_is_invalid(measure: Measure) -> None:
    found = measure("RecompilesEachTime", compile="default", timeout_s=120.0)
    assert isinstance(found, Failure)
    assert found.status == "invalid"
    assert "recompile" in found.reason


def test_a_train_method_that_gives_nothing_back_does_no_harm(measure: Measure) -> None:
    assert isinstance(measure("TrainGivesNone", mode="training"), Measurement)


def test_a_module_that_computes_when_it_is_imported_is_measured_in_an_interpreter_of_its_own(
    tmp_path: Path,
) -> None:
    log = tmp_path / "log"
    one = Session(allocator="retained", modules=["tests.busy_import"], inductor=False, log=log)
    folders = Folders(tmp_path / "scratch", tmp_path / "failures")
    folders.scratch.mkdir()
    options = RunOptions(samples_s=0.02, warmup_s=0.01)
    asked = request(
        "measure", case(subject="tests.busy_import:Net", input="4"), 0, None, options, folders
    )
    try:
        assert not one.forks
        found = collect(asked, one.ask(asked), folders)
    finally:
        one.close()
    assert isinstance(found, Measurement)
