"""The search for the largest batch, and a run that is asked for it."""

import json
import math
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.core.records import Case, Entry, Failure, StaticMetrics, Status
from bench.engine.largest import MOST, described, find
from bench.terminal.run_summary import _largest
from tests.support.cases import case
from tests.support.paths import ROOT
from tests.support.results import replicates, run_of

ONE = case(batch=1)


class Memory:
    """A machine on which so many images fit; it counts the attempts."""

    def __init__(self, most: int, *, first: int = 1, status: Status = "oom") -> None:
        self.most, self.first, self.status = most, first, status
        self.tried: list[int] = []

    def __call__(self, one: Case) -> Entry:
        self.tried.append(one.batch)
        if one.batch < self.first:
            reason = "Expected more than 1 value per channel"
            return Failure(case=one, replicate=0, status="unsupported", reason=reason)
        if one.batch > self.most:
            return Failure(case=one, replicate=0, status=self.status, reason="out of memory")
        return StaticMetrics(case=one, metrics={})


def test_it_doubles_until_memory_runs_out_and_then_bisects() -> None:
    memory = Memory(10)
    found = find(ONE, memory)
    assert memory.tried == [1, 2, 4, 8, 16, 12, 10, 11]
    assert (found.batch, found.refused, found.attempts) == (10, 11, 8)
    assert described(found) == "batch 10 fits, and at 11 memory runs out (8 attempts)"


@given(most=st.integers(1, MOST - 1))
def test_what_is_found_fits_and_a_batch_hardly_larger_does_not(most: int) -> None:
    memory = Memory(most)
    found = find(ONE, memory)
    assert found.batch is not None
    assert found.refused is not None
    assert found.batch <= most < found.refused
    assert found.refused - found.batch <= max(1, found.refused / 64)
    assert len(memory.tried) <= 2 + math.ceil(math.log2(most + 1)) + 7
    assert len(set(memory.tried)) == len(memory.tried)


def test_a_network_that_needs_two_images_is_tried_with_two() -> None:
    memory = Memory(5, first=2)
    assert find(ONE, memory).batch == 5
    assert memory.tried[:2] == [1, 2]


def test_calls_that_take_too_long_end_the_search_as_memory_does() -> None:
    found = find(ONE, Memory(4, status="timeout"))
    assert (found.batch, found.refused) == (4, 5)
    assert described(found) == (
        "batch 4 fits, and at 5 the calls of a measurement take longer than --timeout (6 attempts)"
    )


def test_where_no_batch_fits_it_says_so() -> None:
    found = find(ONE, Memory(0))
    assert (found.batch, found.refused) == (None, 1)
    assert described(found) == "no batch fits after 1 attempt: oom: out of memory"


def test_another_failure_ends_the_search_with_what_fits_so_far() -> None:
    found = find(ONE, Memory(4, status="crash"))
    assert (found.batch, found.refused, found.status) == (4, None, "crash")
    assert described(found) == (
        "batch 4 fits; the search ended after 4 attempts: batch 8 failed: out of memory"
    )


def test_a_machine_without_an_end_ends_at_the_largest_batch_that_can_be_asked_for() -> None:
    found = find(ONE, Memory(10**9))
    assert (found.batch, found.refused) == (MOST, None)


def test_the_rows_and_the_end_of_a_run_say_what_was_found(tmp_path: Path) -> None:
    found = case(batch=10)
    entries = [*replicates(found, [0.01] * 5), *replicates(case(batch=8), [0.01] * 5)]
    largest = {found.case_id: {"batch": 10, "refused": 11, "reason": "out of memory"}}
    run = run_of(tmp_path / "run", entries, largest_batches=largest)
    assert {row.batch: row.largest_batch for row in run.rows} == {10: 10, 8: None}
    assert _largest(run) == [
        "convnet inference N=10: 10 is the largest batch that fits; 11 does not"
    ]


MEMORY_BYTES = 4 * 2**30  # of data, with torch and the images
SEARCH = """
import sys
from pathlib import Path
from bench.commands import run

class Ending:
    def __init__(self, *, spent, **_): self.spent = spent
    def measure(self): return False

run.Runner, run._derive = Ending, lambda *_: 0
axes = {"input": ("32,1024,1024",), "batch": ("max", "1"), "mode": ("inference",),
        "device": ("cpu",), "allocator": ("retained",)}
sys.exit(run.run(run.Asked(config=Path(sys.argv[1]), axes=axes, subjects=("torch.nn:ReLU",),
                           out=Path(sys.argv[2]))))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_DATA counts mapped memory on Linux")
def test_a_run_finds_the_largest_batch_under_a_limit_of_memory_and_plans_it(
    tmp_path: Path,
) -> None:
    """128 MB an image and as much for its result: some fit, and dozens never can."""
    (tmp_path / "one.toml").write_text("[[sweep]]\n")
    command = [sys.executable, "-c", SEARCH, str(tmp_path / "one.toml"), str(tmp_path / "run")]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES, MEMORY_BYTES)),
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    made = json.loads((tmp_path / "run" / "run.json").read_text())
    ((case_id, found),) = made["largest_batches"].items()
    assert 2 <= found["batch"] < found["refused"] <= 32
    assert found["status"] == "oom"
    assert f":b{found['batch']}:" in case_id
    assert [one["batch"] for one in made["cases"]] == [1, found["batch"]]
    assert f"batch {found['batch']} fits, and at {found['refused']} memory runs out" in done.stdout
