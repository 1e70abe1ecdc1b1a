"""Real children with subjects that misbehave: one record each, and nothing is left running."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from bench.core.protocol import Job
from bench.core.records import Entry, Failure, Measurement, StaticMetrics
from bench.engine.collect import collect
from bench.engine.fork_server import ForkServer
from bench.engine.requests import request
from bench.host.environment import GROUPS, PROC, cgroup_files
from bench.plan.config import RunOptions
from bench.results.run_directory import Folders
from bench.worker.process import limits
from tests.support.cases import case
from tests.support.processes import running

pytestmark = [pytest.mark.slow, pytest.mark.alone]

Measure = Callable[..., Entry]


SUBJECT = """
from torch import nn

class Net(nn.Linear):
    def __init__(self):
        super().__init__(4, 4)
"""


def started(folder: Path, *modules: str, timeout_s: float = 60.0) -> ForkServer:
    return ForkServer(
        allocator="retained",
        modules=modules,
        inductor=False,
        log=folder / "session.log",
        timeout_s=timeout_s,
    )


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForkServer]:
    one = started(tmp_path_factory.mktemp("session"), "tests.subjects.hostile")
    yield one
    one.close()


def folders(tmp_path: Path) -> Folders:
    made = Folders(tmp_path / "scratch", tmp_path / "failures")
    made.scratch.mkdir(exist_ok=True)
    return made


def ask(
    session: ForkServer,
    subject: str,
    where: Folders,
    timeout_s: float,
    job: Job = "measure",
    **changes: Any,
) -> Entry:
    fast: dict[str, Any] = {"samples_s": 0.02, "warmup_s": 0.01, "timeout_s": timeout_s}
    hostile = case(subject=subject, **{"input": "4", "batch": 2, **changes})
    asked = request(job, hostile, 0, RunOptions(**fast), where)
    return collect(asked, session.ask(asked), where)


@pytest.fixture
def measure(session: ForkServer, tmp_path: Path) -> Measure:
    where = folders(tmp_path)

    def one(name: str, timeout_s: float = 60.0, **changes: Any) -> Entry:
        return ask(session, f"tests.subjects.hostile:{name}", where, timeout_s, **changes)

    return one


def below(session: ForkServer) -> list[psutil.Process]:
    return psutil.Process(session._process.pid).children(recursive=True)


def test_a_replicate_forks(session: ForkServer) -> None:
    assert session.forks


def test_a_well_behaved_subject_is_measured(measure: Measure) -> None:
    found = measure("Small")
    assert isinstance(found, Measurement)
    assert {(one.phase, one.kind) for one in found.samples} == {
        ("forward", "latency"),
        ("forward", "pipelined"),
    }
    assert found.metrics["first_call_s"] > 0


@pytest.mark.parametrize(
    ("name", "status", "reason"),
    [
        ("Raises", "error", "RuntimeError: shapes do not fit <b>here</b> (failures/"),
        ("RaisesAtTheTenth", "error", "ValueError: tenth call (failures/"),
        ("RaisesBase", "error", "Nameless: its text cannot be shown (failures/"),
        ("RaisesHuge", "error", "ValueError: much much much "),
        (
            "RaisesEscapes",
            "error",
            "ValueError: =cmd|'/c calc' ?]0;owned??[2J<script> (failures/",
        ),
        ("RaisesMemoryError", "oom", "no more (failures/"),
        ("RaisesBadAlloc", "oom", "std::bad_alloc (failures/"),
        ("DeviceIsFull", "oom", "CUDA out of memory. Tried to allocate 9 GiB (failures/"),
        ("SaysTheDiskIsFull", "error", "no space left on the disk: OSError: [Errno 28] No space"),
        ("Segfaults", "crash", "ended by SIGSEGV (failures/"),
        ("Aborts", "crash", "ended by SIGABRT (failures/"),
        ("KillsItself", "crash", "ended by SIGKILL, and not by the kernel for want of memory"),
        ("Exits(0)", "crash", "the process ended itself with exit code 0"),
        ("Exits(3)", "crash", "the process ended itself with exit code 3"),
        ("Exits(70)", "crash", "the process ended itself with exit code 70"),
        ("Exits(71)", "crash", "the process ended itself with exit code 71"),
        ("Exits(74)", "crash", "the process ended itself with exit code 74"),
        ("ExitsSoftly", "crash", "SystemExit: enough (failures/"),
        ("ExitsWhenBuilt", "crash", "SystemExit: no (failures/"),
        ("ClosesStreams", "error", "RuntimeError: in silence"),
        ("HasNoStreams", "error", "RuntimeError: in silence"),
        ("HasWrongStreams", "error", "RuntimeError: in silence"),
        ("SetsAnAlarm", "crash", "ended by SIGALRM"),
        ("RaisesInAHandler", "error", "RuntimeError: in a handler (failures/"),
        ("Fills", "oom", "can't allocate memory: you tried to allocate 1073741824 bytes"),
        ("Hungry", "oom", "allocate memory"),
        ("NotFinite", "invalid", "the output is not finite"),
        ("TurnsThreads", "invalid", "threads is 1, should be"),
        ("TurnsDtype", "invalid", "default_dtype is float64, should be float32"),
        ("TurnsDeterministic", "invalid", "deterministic is True, should be False"),
        ("TrainDoesNothing", "error", "the module is in the wrong mode for inference"),
        ("CallGivesNone", "error", "no tensor was found in the output, a NoneType"),
        ("EvalRaises", "error", "RuntimeError: never in eval (failures/"),
    ],
)
def test_a_subject_that_misbehaves_is_one_record_with_its_reason(
    measure: Measure, session: ForkServer, name: str, status: str, reason: str
) -> None:
    found = measure(name)
    assert isinstance(found, Failure)
    assert found.status == status
    assert reason in found.told
    assert found.told.isprintable()
    assert len(found.told) < 600
    assert session.forks
    assert below(session) == []


def test_each_failure_of_a_case_leaves_a_file_of_its_own(measure: Measure, tmp_path: Path) -> None:
    named = []
    for _ in range(3):
        found = measure("Raises")
        assert isinstance(found, Failure)
        named.append(str(found.log))
    assert len(set(named)) == 3
    for one in named:
        assert "RuntimeError: shapes do not" in (tmp_path / "failures" / one).read_text(), one


@pytest.mark.parametrize(
    "name",
    [
        "ClosesAll",
        "WritesToAll",
        "LeavesAThread",
        "LeavesADaemon",
        "LeavesAProcess",
        "LeavesADeafProcess",
        "LeavesAnOrphan",
        "ForksOnce",
        "ChangesFolder",
        "GoesWhereNothingIs",
        "LowersLimits",
        "RemovesRecords",
        "ChangesUmask",
    ],
)
def test_what_does_not_touch_the_figures_is_measured_and_nothing_is_left_running(
    measure: Measure, session: ForkServer, tmp_path: Path, name: str
) -> None:
    assert isinstance(measure(name), Measurement)
    assert session.forks
    assert below(session) == []
    assert isinstance(
        ask(session, "tests.subjects.hostile:Small", folders(tmp_path), 60.0), Measurement
    )


@pytest.mark.parametrize(
    ("name", "stage", "where"),
    [
        ("Hangs", "in its first call", "in <lambda>"),
        # The signal that has it write where it hangs ends this one's sleep, so that it goes on.
        ("HangsInC", "after a first call of ", "in <lambda>"),
        ("HangsWhenBuilt", "while it was built", "in __init__"),
        ("HangsAtTheThird", "after a first call of ", "in forward"),
        ("HangsAndListensToNoSignal", "in its first call", ""),
    ],
)
def test_a_subject_that_hangs_ends_at_its_limit_and_its_file_says_where(
    measure: Measure, session: ForkServer, tmp_path: Path, name: str, stage: str, where: str
) -> None:
    found = measure(name, timeout_s=2.0)
    assert isinstance(found, Failure)
    assert found.status == "timeout"
    assert found.reason.startswith(f"not done after 2 s (--timeout), {stage}")
    assert [one for one in (tmp_path / "scratch").iterdir() if one.is_file()] == []
    assert where in "".join(one.read_text() for one in tmp_path.rglob("failures/*"))
    assert below(session) == []


def test_a_subject_too_slow_for_its_limit_says_what_it_needs(measure: Measure) -> None:
    found = measure("TakesASecond", timeout_s=8.0)
    assert isinstance(found, Failure)
    assert found.status == "timeout"
    assert found.reason.startswith("a call takes 1 s: ")
    assert "give --timeout 30, or a smaller batch" in found.reason


def test_a_failure_keeps_its_traceback_and_names_the_file(measure: Measure, tmp_path: Path) -> None:
    found = measure("RaisesEscapes")
    assert isinstance(found, Failure)
    (kept,) = (tmp_path / "failures").iterdir()
    assert found.log == kept.name
    text = kept.read_text()
    assert "Traceback" in text
    assert found.case.case_id in text
    assert "\x1b" not in text


def test_a_flood_of_output_is_bounded_and_its_row_says_so(measure: Measure, tmp_path: Path) -> None:
    found = measure("Floods")
    assert isinstance(found, Failure)
    assert "a case may write 64 MiB to a file, or print them" in found.reason
    kept = sum(one.stat().st_size for one in tmp_path.rglob("*") if one.is_file())
    assert kept <= 2**20


def test_values_larger_than_an_output_may_be_are_kept_and_held_against_the_reference(
    measure: Measure,
) -> None:
    large = {"input": "3000", "mode": "training"}
    for job in ("reference", "static_metrics"):
        found = measure("Large", job=job, **large)
        assert isinstance(found, StaticMetrics)
    assert isinstance(found, StaticMetrics)
    assert found.problems == {}
    assert found.metrics["relative_error:backward"] < 1e-4
    assert found.metrics["parameters"] == 9_003_000


def test_a_subject_that_ends_its_replicate_is_a_row_that_says_so(tmp_path: Path) -> None:
    one = started(tmp_path, "tests.subjects.hostile")
    found = ask(one, "tests.subjects.hostile:KillsItsReplicate", folders(tmp_path), 60.0)
    one.close()
    assert isinstance(found, Failure)
    assert found.reason == "the replicate ended with exit code -9, while it ran this case"


CHANGES_ALL = """
import os, signal, subprocess, sys, threading, time
threading.Thread(target=time.sleep, args=(99,)).start()
subprocess.Popen(["sleep", "3602"])
os.chdir("/")
signal.signal(signal.SIGTERM, print)
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
sys.stdin = sys.stdout = sys.stderr = None
"""

TURNS_THE_PROCESSOR = """
import os, torch
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
os.nice(1)
torch.set_flush_denormal(True)
"""


COMPUTES_ON = """
import threading
def run():
    while True: pass
threading.Thread(target=run, daemon=True).start()
"""


@pytest.mark.parametrize(
    ("source", "status", "changed"),
    [
        ("print('hello'); import sys; print('again', file=sys.stderr)", "ok", ""),
        ("import sys; sys.exit(3)", "crash", ""),
        (
            CHANGES_ALL,
            "ok",
            "threads, processes, folder, handlers, blocked signals, streams",
        ),
        (COMPUTES_ON, "ok", "threads"),
        (f"import torch; torch.set_num_threads(1)\n{COMPUTES_ON}", "ok", "threads"),
        ("import torch; torch.randn(512, 512) @ torch.randn(512, 512)", "ok", "threads"),
        (TURNS_THE_PROCESSOR, "invalid", "processors, priority, small numbers"),
    ],
)
def test_an_import_that_misbehaves_is_left_to_the_child_of_its_case(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, status: str, changed: str
) -> None:
    """changed: in the process that imports it; empty: children are forked from the import."""
    one, found = _imported(tmp_path, monkeypatch, source)
    assert found == status
    assert one.forks
    assert one.unshared == ({"imported"} if changed else frozenset())
    log = (tmp_path / "session.log").read_text()
    assert (f"imported changes {changed}: not shared\n" in log) == bool(changed)


@pytest.mark.parametrize(
    ("source", "status"),
    [
        ("import os; os._exit(7)", "crash"),
        ("import os; os.kill(os.getpid(), 11)", "crash"),
        ("import os; os.kill(os.getpid(), 9)", "crash"),
        ("import os; os.closerange(0, 64)", "ok"),
    ],
)
def test_where_an_import_ends_who_imports_it_nothing_is_shared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, status: str
) -> None:
    one, found = _imported(tmp_path, monkeypatch, source)
    assert found == status
    assert one.forks
    assert one.unshared == {"imported", "tests.subjects.hostile"}


def test_what_an_import_may_write_is_limited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = "import resource; print('up to', resource.getrlimit(resource.RLIMIT_FSIZE)[0])"
    _imported(tmp_path, monkeypatch, source)
    said = (tmp_path / "session.log").read_text()
    assert f"up to {limits.COMPILER_FILE_BYTES}\n" in said


def _imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str
) -> tuple[ForkServer, str]:
    """The status of a case of that source; a case beside it is measured, nothing is left."""
    (tmp_path / "imported.py").write_text(f"{source}\n{SUBJECT}")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    one = started(tmp_path, "imported", "tests.subjects.hostile")
    try:
        found = ask(one, "imported:Net", folders(tmp_path), 60.0)
        beside = ask(one, "tests.subjects.hostile:Small", folders(tmp_path), 60.0)
        assert isinstance(beside, Measurement)
        assert below(one) == []
    finally:
        one.close()
    return one, found.status if isinstance(found, Failure) else "ok"


def test_an_import_that_hangs_costs_its_own_cases_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "imported.py").write_text(f"import time; time.sleep(3600)\n{SUBJECT}")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr("bench.engine.fork_server.START_S", 20.0)
    one = started(tmp_path, "imported", "tests.subjects.hostile", timeout_s=1.0)
    try:
        found = ask(one, "imported:Net", folders(tmp_path), 2.0)
        assert isinstance(found, Failure)
        assert found.status == "timeout"
        assert isinstance(
            ask(one, "tests.subjects.hostile:Small", folders(tmp_path), 60.0), Measurement
        )
    finally:
        one.close()


def test_a_replicate_that_does_not_answer_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.engine.fork_server.GRACE_S", 1.0)
    one = started(tmp_path, "tests.subjects.hostile")
    os.kill(one._process.pid, signal.SIGSTOP)
    found = ask(one, "tests.subjects.hostile:Small", folders(tmp_path), 1.0)
    assert isinstance(found, Failure)
    assert found.reason == "the replicate did not answer within 2 s, while it ran this case"
    assert one.dead
    one.close()


@pytest.fixture
def small_group() -> Iterator[Path]:
    """A control group with 1 GiB of memory, where the kernel lets us make one."""
    own = next(cgroup_files("memory", "bench-test", PROC, GROUPS))
    names = ("memory.max", "memory.limit_in_bytes")
    try:
        own.mkdir()
    except OSError as error:
        pytest.skip(f"no control group can be made here: {error}")
    try:
        limit = next((own / name for name in names if (own / name).exists()), None)
        if limit is None:
            pytest.skip("the control group here has no limit of memory")
        limit.write_text(str(2**30))
        yield own
    finally:
        own.rmdir()


def test_the_kernel_ends_the_child_and_not_the_replicate_where_memory_runs_out(
    small_group: Path, tmp_path: Path
) -> None:
    one = started(tmp_path, "tests.subjects.hostile")
    try:
        (small_group / "cgroup.procs").write_text(str(one._process.pid))
        found = ask(one, "tests.subjects.hostile:EatsUp", folders(tmp_path), 60.0)
        assert isinstance(found, Failure)
        assert (found.status, found.reason) == ("oom", "ended by the kernel because memory ran out")
        assert isinstance(
            ask(one, "tests.subjects.hostile:Small", folders(tmp_path), 60.0), Measurement
        )
    finally:
        one.close()


def test_what_runs_ends_with_its_runner_however_that_ends(tmp_path: Path) -> None:
    sleeping = ["sleep", str(10**6 + os.getpid())]
    script = f"""
import os, pathlib, signal, threading
from tests.whole.test_faults import ask, folders, started
folder = pathlib.Path({str(tmp_path)!r})
one = started(folder, "tests.subjects.hostile")
print(one._process.pid, flush=True)
threading.Timer(2.0, os.kill, (os.getpid(), signal.SIGKILL)).start()
ask(one, "tests.subjects.hostile:LeavesAndHangs({sleeping[1]})", folders(folder), 60.0)
"""
    runner = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=100, check=False
    )
    assert runner.returncode == -signal.SIGKILL, runner.stderr
    replicate = int(runner.stdout)
    until_s = time.monotonic() + 50
    while psutil.pid_exists(replicate) or running(*sleeping):
        assert time.monotonic() < until_s, "something is left running"
        time.sleep(0.05)  # waits for other processes, whose speed is not what is tested


def test_nothing_is_left_of_a_replicate_that_was_killed(tmp_path: Path) -> None:
    """Killed by the subject, it cannot clear up, and nothing descends from it any more."""
    sleeping = ["sleep", str(2 * 10**6 + os.getpid())]
    one = started(tmp_path, "tests.subjects.hostile")
    subject = f"tests.subjects.hostile:LeavesAndKillsItsReplicate({sleeping[1]})"
    found = ask(one, subject, folders(tmp_path), 60.0)
    assert isinstance(found, Failure)
    assert found.reason == "the replicate ended with exit code -9, while it ran this case"
    assert not running(*sleeping)
    one.close()


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
    assert "compile_cold_s" in cold.metrics
    assert "compile_warm_s" in warm.metrics
    assert cold.metrics["graph_breaks"] == 0


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
    assert found.metrics["recompiles"] == 1


def test_recompiling_in_every_call_is_invalid(measure: Measure) -> None:
    found = measure("RecompilesEachTime", compile="default", timeout_s=120.0)
    assert isinstance(found, Failure)
    assert found.status == "invalid"
    assert "recompile" in found.reason


def test_a_train_method_that_gives_nothing_back_does_no_harm(measure: Measure) -> None:
    assert isinstance(measure("TrainGivesNone", mode="training"), Measurement)


def test_a_network_that_is_compiled_in_several_graphs_is_measured_and_its_breaks_are_counted(
    measure: Measure,
) -> None:
    found = measure("BreaksInLoop", compile="default", timeout_s=180.0)
    assert isinstance(found, Measurement), found
    assert found.metrics["graph_breaks"] == 1


def test_a_network_most_of_which_runs_as_eager_code_is_not_a_compiled_one(
    measure: Measure,
) -> None:
    found = measure("MostlyEager", compile="default", timeout_s=180.0)
    assert isinstance(found, Failure), found
    assert found.status == "invalid"
    assert found.reason.startswith("67% of the operators ran as eager code, outside of the graphs")
