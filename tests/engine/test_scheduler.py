"""The runner against sessions that answer from memory: no process, no torch, a clock of our own."""

import dataclasses
import math
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from bench.core.protocol import Ended, Exited, Request, Signalled, TimedOut, WorkerLost
from bench.core.records import (
    Case,
    Entry,
    Failure,
    Measurement,
    Outcome,
    Samples,
    StaticMetrics,
    to_line,
)
from bench.engine import policy
from bench.engine.blocks import Block, Round
from bench.engine.collect import DiskFull
from bench.engine.run_so_far import RunSoFar
from bench.engine.scheduler import OneOff, Runner
from bench.engine.workers import WorkerPool
from bench.host import rapl
from bench.plan.config import RunOptions
from bench.plan.expand import Plan
from bench.results import quiet
from bench.results.journal import Journal, read
from bench.results.run_directory import Folders
from tests.support.cases import case

Answered = Entry | WorkerLost | TimedOut | None
Answer = Callable[[str, Case, int], Answered]
CASES = (case(batch=1), case(batch=8), case(batch=32))


def measured(one: Case, replicate: int, seconds: float = 0.01) -> Measurement:
    times = (seconds, seconds, seconds)
    kinds = (("latency", 1), ("pipelined", 7))
    return Measurement(
        case=one,
        replicate=replicate,
        samples=tuple(
            Samples(phase="forward", kind=kind, calls_per_sample=calls, times_s=times)
            for kind, calls in kinds
        ),
    )


def works(job: str, one: Case, replicate: int) -> Entry | WorkerLost | None:
    if job == "static_metrics":
        return StaticMetrics(case=one, metrics={"flops": 5.0})
    return measured(one, replicate)


@dataclass
class FakeForkServer:
    """Leaves what a child would leave, or nothing where the child died."""

    answer: Answer
    asked: list[Request]
    dead: bool = False
    unshared: frozenset[str] = frozenset()
    # Seconds of an outcome of these cases; of others half a second.
    slow: dict[Case, float] = field(default_factory=dict)

    def ask(self, request: Request) -> Ended:
        self.asked.append(request)
        entry = self.answer(request.job, request.case, request.replicate)
        match entry:
            case None:
                return Ended(how=Signalled("SIGSEGV"))
            case WorkerLost() | TimedOut():
                return Ended(how=entry, wall_s=self.slow.get(request.case, 0.0))
        Path(request.out).write_text(to_line(entry))
        return Ended(how=Exited(0), wall_s=self.slow.get(request.case, 0.5))

    def close(self) -> None:
        self.dead = True

    def kill(self) -> None:
        self.dead = True


@dataclass
class Watched:
    """A watcher that remembers, and a clock that a finished outcome moves by a second.

    slow: cases whose outcomes move it by more.
    """

    outcomes: list[Outcome] = field(default_factory=list)
    left: list[int] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    slow: dict[Case, float] = field(default_factory=dict)

    def begin(self, outcomes: int) -> None:
        self.left.append(outcomes)

    def done(self, outcome: Outcome, left: int) -> None:
        self.outcomes.append(outcome)
        self.left.append(left)

    def note(self, text: str) -> None:
        self.notes.append(text)

    def clock(self) -> float:
        return math.fsum(self.slow.get(one.case, 1.0) for one in self.outcomes)


@dataclass
class Stage:
    """A runner and all that it was given."""

    runner: Runner
    watched: Watched
    asked: list[Request]
    path: Path

    def ids(self) -> list[tuple[str, int]]:
        return [
            (one.case.case_id, one.replicate)
            for one in read(self.path)
            if not isinstance(one, StaticMetrics)
        ]


@pytest.fixture
def stage(tmp_path: Path) -> Callable[..., Stage]:
    def build(answer: Answer = works, cases: tuple[Case, ...] = CASES, **options: Any) -> Stage:
        watched = Watched()
        asked: list[Request] = []
        path = tmp_path / "journal.jsonl"
        seen = RunSoFar()
        if path.exists():
            for entry in read(path):
                seen.add(entry)
        folders = Folders(tmp_path / "scratch", tmp_path / "failures")
        folders.scratch.mkdir(exist_ok=True)
        runner = Runner(
            plan=Plan(cases, ()),
            run=RunOptions(**options),
            folders=folders,
            journal=Journal(path),
            watcher=watched,
            seen=seen,
            clock=watched.clock,
            start=lambda **_: FakeForkServer(answer, asked, slow=watched.slow),  # type: ignore[arg-type]
        )
        return Stage(runner, watched, asked, path)

    return build


def test_transfers_are_timed_once_in_each_replicate_and_all_rows_have_them(
    stage: Callable[..., Stage],
) -> None:
    gpu: dict[str, Any] = {"device": "cuda:0", "threads": None, "allocator": None}
    cases = tuple(case(**gpu, cudnn_benchmark="off", tf32=name) for name in ("off", "on"))
    copied = Samples(phase="input_pinned", kind="latency", calls_per_sample=1, times_s=(2e-3,))
    run: Stage | None = None

    def answer(job: str, one: Case, replicate: int) -> Entry | WorkerLost | None:
        assert run is not None
        found = works(job, one, replicate)
        if isinstance(found, Measurement) and run.asked[-1].transfers:
            return dataclasses.replace(found, samples=(*found.samples, copied))
        return found

    run = stage(answer, cases, replicates=2)
    assert run.runner.measure()
    asked = [one for one in run.asked if one.job == "measure"]
    assert sorted((one.replicate, one.transfers) for one in asked) == [
        (0, False),
        (0, True),
        (1, False),
        (1, True),
    ]
    for outcome in run.watched.outcomes:
        assert isinstance(outcome, Measurement)
        assert copied in outcome.samples


def test_every_case_is_measured_in_every_replicate_and_replicates_are_outermost(
    stage: Callable[..., Stage],
) -> None:
    run = stage(replicates=3)
    assert run.runner.measure()
    assert sorted(run.ids()) == sorted((c.case_id, r) for c in CASES for r in range(3))
    assert [replicate for _, replicate in run.ids()] == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert run.watched.left[0] == 9
    assert run.watched.left[-1] == 0


def test_static_metrics_are_found_once_a_case(stage: Callable[..., Stage]) -> None:
    run = stage(replicates=3)
    run.runner.measure()
    found = [one for one in read(run.path) if isinstance(one, StaticMetrics)]
    assert sorted(one.case.batch for one in found) == [1, 8, 32]


def test_calls_per_sample_are_frozen_by_the_first_replicate(stage: Callable[..., Stage]) -> None:
    run = stage(replicates=2)
    run.runner.measure()
    calls = [one.calls for one in run.asked if one.job == "measure"]
    assert calls == [None] * 3 + [7] * 3


def test_a_resume_measures_what_is_missing_and_nothing_twice(stage: Callable[..., Stage]) -> None:
    stage(replicates=5, budget_s=4.5).runner.measure()
    again = stage(replicates=5)
    again.runner.measure()
    assert sorted(again.ids()) == sorted((c.case_id, r) for c in CASES for r in range(5))
    assert len(again.watched.outcomes) == 10


def test_at_the_budget_nothing_further_is_started_and_it_is_said(
    stage: Callable[..., Stage],
) -> None:
    run = stage(replicates=5, budget_s=3.5)
    assert not run.runner.measure()
    assert len(run.ids()) == 4
    assert run.watched.notes == [
        "the budget of 4 s is used up in replicate 2: whole networks: 11 outcomes are missing"
    ]


def test_a_child_that_dies_is_one_row_and_the_run_goes_on(stage: Callable[..., Stage]) -> None:
    def dies(job: str, one: Case, replicate: int) -> Entry | WorkerLost | None:
        return None if one.batch == 8 and replicate == 1 else works(job, one, replicate)

    run = stage(dies, replicates=3)
    assert run.runner.measure()
    failures = [one for one in read(run.path) if isinstance(one, Failure)]
    assert [(one.status, one.reason) for one in failures] == [("crash", "ended by SIGSEGV")]
    assert len(run.ids()) == 9


def test_a_case_is_given_up_after_two_failures(stage: Callable[..., Stage]) -> None:
    def dies(job: str, one: Case, replicate: int) -> Entry | WorkerLost | None:
        return None if one.batch == 8 else works(job, one, replicate)

    run = stage(dies, replicates=5)
    run.runner.measure()
    assert [replicate for name, replicate in run.ids() if ":b8:" in name] == [0, 1]


def test_what_no_chance_decides_is_tried_once(stage: Callable[..., Stage]) -> None:
    def unsupported(_job: str, one: Case, replicate: int) -> Entry | None:
        return Failure(case=one, replicate=replicate, status="unsupported", reason="no")

    run = stage(unsupported, replicates=5)
    run.runner.measure()
    assert len(run.ids()) == 3


def test_larger_batches_are_not_tried_where_a_smaller_one_ran_out_of_memory(
    stage: Callable[..., Stage],
) -> None:
    def hungry(job: str, one: Case, replicate: int) -> Entry | WorkerLost | None:
        if one.batch >= 8:
            return Failure(case=one, replicate=replicate, status="oom", reason="no memory")
        return works(job, one, replicate)

    cases = tuple(case(batch=batch) for batch in (8, 16, 32, 64, 1))
    run = stage(hungry, cases=cases, replicates=1, seed=1)
    run.runner.measure()
    failures = {one.case.batch: one.reason for one in read(run.path) if isinstance(one, Failure)}
    assert set(failures) == {8, 16, 32, 64}
    order = [one.case.batch for one in run.asked if one.job == "measure"]
    first = min(order.index(batch) for batch in order if batch >= 8)
    tried = [batch for batch in order[first + 1 :] if batch > order[first]]
    assert tried == []


def test_further_replicates_go_to_the_widest_cases_alone(stage: Callable[..., Stage]) -> None:
    def scattered(job: str, one: Case, replicate: int) -> Entry | WorkerLost | None:
        if job == "measure" and one.batch == 32:
            return measured(one, replicate, 0.01 * (1 + replicate % 2))
        return works(job, one, replicate)

    run = stage(scattered, replicates=5, max_replicates=8)
    run.runner.measure()
    extra = [name for name, replicate in run.ids() if replicate >= 5]
    assert len(extra) == 3
    assert all(":b32:" in name for name in extra)


def test_what_is_left_of_a_budget_goes_to_the_widest_cases_until_it_is_spent(
    stage: Callable[..., Stage],
) -> None:
    def scattered(job: str, one: Case, replicate: int) -> Entry | WorkerLost | None:
        if job == "measure" and one.batch >= 8:
            spread = 100 if one.batch == 32 else 2
            return measured(one, replicate, 0.01 * (spread if replicate % 2 else 1))
        return works(job, one, replicate)

    run = stage(scattered, replicates=5, budget_s=45.5)  # seconds, of an outcome each
    assert run.runner.measure()
    extra = [name.split(":")[2] for name, replicate in run.ids() if replicate >= 5]
    assert len(extra) == 31
    assert extra[:4] == ["b32", "b8"] * 2


def test_without_a_budget_twice_the_replicates_have_to_do(stage: Callable[..., Stage]) -> None:
    def scattered(job: str, one: Case, replicate: int) -> Entry | WorkerLost | None:
        if job == "measure":
            return measured(one, replicate, 0.01 * (1 + replicate % 2))
        return works(job, one, replicate)

    run = stage(scattered, replicates=5)
    assert run.runner.measure()
    assert max(replicate for _, replicate in run.ids()) == 9


def test_a_replicate_that_dies_is_replaced_and_its_case_is_a_crash(
    stage: Callable[..., Stage],
) -> None:
    died: list[Case] = []

    def answer(job: str, one: Case, replicate: int) -> Entry | WorkerLost | None:
        if not died:
            died.append(one)
            return WorkerLost("the replicate ended with exit code -9")
        return works(job, one, replicate)

    run = stage(answer, replicates=2)
    assert run.runner.measure()
    assert len(run.ids()) == 6
    assert "a new one is started" in run.watched.notes[0]


@pytest.mark.parametrize("job", ["measure", "static_metrics", "reference"])
def test_what_something_killed_is_done_again_and_leaves_no_failure(
    stage: Callable[..., Stage], job: str
) -> None:
    killed: list[str] = []

    def answer(asked: str, one: Case, replicate: int) -> Entry | WorkerLost | None:
        if asked == job and len(killed) < 2:
            killed.append(asked)
            return WorkerLost("the replicate ended with exit code -9", killed=True)
        return works(asked, one, replicate)

    run = stage(answer, replicates=2)
    assert run.runner.measure()
    assert [one for one in read(run.path) if isinstance(one, Failure)] == []
    assert not any(one.problems for one in read(run.path) if isinstance(one, StaticMetrics))
    assert len(run.ids()) == 6
    assert len(run.watched.notes) == 2


def test_a_case_that_is_killed_each_time_is_a_crash_and_given_up(
    stage: Callable[..., Stage],
) -> None:
    def answer(job: str, one: Case, replicate: int) -> Entry | WorkerLost | None:
        if job == "measure" and one.batch == 8:
            return WorkerLost("the replicate ended with exit code -9", killed=True)
        return works(job, one, replicate)

    run = stage(answer, replicates=5)
    assert run.runner.measure()
    failures = [one for one in read(run.path) if isinstance(one, Failure)]
    assert [one.status for one in failures] == ["crash", "crash"]
    assert sum(one.job == "measure" and one.case.batch == 8 for one in run.asked) == 6


def test_a_module_that_cannot_be_shared_once_is_not_tried_again(
    stage: Callable[..., Stage],
) -> None:
    run = stage(replicates=3)
    asked: list[list[str]] = []

    def start(*, modules: list[str], **_: Any) -> FakeForkServer:
        asked.append(modules)
        return FakeForkServer(works, run.asked, unshared=frozenset(modules))

    run.runner.start = start  # type: ignore[assignment]
    run.runner.measure()
    assert asked == [["convnet.network"], [], []]


def test_a_compiler_that_cannot_be_shared_is_left_out_of_the_next_interpreter(
    stage: Callable[..., Stage],
) -> None:
    compiled = dataclasses.replace(CASES[0], compile="default")
    run, asked = stage(cases=(compiled,), replicates=3), []

    def start(*, inductor: bool, **_: Any) -> FakeForkServer:
        asked.append(inductor)
        return FakeForkServer(works, run.asked, unshared=frozenset({"torch.compile"}))

    run.runner.start = start  # type: ignore[assignment]
    run.runner.measure()
    assert asked == [True, False, False]


def test_a_run_says_once_what_each_of_its_interpreters_says(stage: Callable[..., Stage]) -> None:
    run = stage(replicates=3)

    def start(*, say: Callable[[str], None], **_: Any) -> FakeForkServer:
        say("cases start slowly")
        return FakeForkServer(works, run.asked)

    run.runner.start = start  # type: ignore[assignment]
    run.runner.measure()
    assert run.watched.notes == ["cases start slowly"]


def disturbed(one: Case, replicate: int, ratio: float) -> Measurement:
    found = measured(one, replicate)
    flags = ("contended",) if ratio >= 0.1 else ()
    return dataclasses.replace(found, flags=flags, metrics={"contention_ratio": ratio})


def measures(run: Stage) -> int:
    return sum(one.job == "measure" for one in run.asked)


def answering(ratios: Callable[[Case, int], float]) -> Answer:
    """Measurements that other work disturbed by these ratios."""

    def answer(job: str, one: Case, replicate: int) -> Entry | WorkerLost | None:
        if job != "measure":
            return works(job, one, replicate)
        return disturbed(one, replicate, ratios(one, replicate))

    return answer


def kept_ratios(run: Stage, asked: int) -> list[float]:
    return [
        one.metrics["contention_ratio"]
        for one in quiet.counted(read(run.path), asked)
        if isinstance(one, Measurement)
    ]


def test_a_disturbed_replicate_is_measured_again_and_the_quiet_one_counts(
    stage: Callable[..., Stage],
) -> None:
    answer = answering(lambda _, replicate: [0.7, 0.0, 0.0, 0.0][replicate])
    run = stage(answer, cases=CASES[:1], replicates=3, budget_s=100)
    assert run.runner.measure()
    assert [replicate for _, replicate in run.ids()] == [0, 1, 2, 3]
    assert kept_ratios(run, 3) == [0.0, 0.0, 0.0]


def test_of_several_disturbed_ones_the_least_disturbed_counts(stage: Callable[..., Stage]) -> None:
    answer = answering(lambda _, replicate: [0.7, 0.2, 0.5][replicate])
    run = stage(answer, cases=CASES[:1], replicates=1, budget_s=100)
    assert run.runner.measure()
    assert measures(run) == 3
    assert kept_ratios(run, 1) == [0.2]


def test_on_a_machine_that_is_busy_for_good_nothing_is_measured_again(
    stage: Callable[..., Stage],
) -> None:
    run = stage(answering(lambda *_: 0.7), replicates=5, budget_s=1000)
    assert run.runner.measure()
    assert measures(run) == 15
    assert {one.flags for one in run.watched.outcomes if isinstance(one, Measurement)} == {
        ("contended",)
    }


PLAIN = case(batch=8)
LAST = dataclasses.replace(PLAIN, memory_format="channels_last")
COMPILED = dataclasses.replace(PLAIN, compile="default")
LAYER = dataclasses.replace(PLAIN, subject="convnet/conv1")
ALL_BLOCKS = (LAYER, COMPILED, LAST, PLAIN)


@pytest.mark.parametrize(("budget_s", "together"), [(100, True), (11.5, False)])
def test_layers_run_in_the_rounds_of_compiled_networks_if_both_fit(
    stage: Callable[..., Stage], budget_s: float, together: bool
) -> None:
    run = stage(cases=ALL_BLOCKS, replicates=3, budget_s=budget_s)
    run.watched.slow |= dict.fromkeys(ALL_BLOCKS, 1.0)
    run.runner.measure()
    numbers = {
        one: {replicate for other, replicate in measured_order(run) if other == one}
        for one in (COMPILED, LAYER)
    }
    assert numbers[COMPILED] == {2, 3, 4}
    assert (numbers[LAYER] == {2, 3, 4}) is together


def test_slow_calls_are_looked_at_by_the_first_replicate_that_measured(
    stage: Callable[..., Stage],
) -> None:
    def fails_at_first(job: str, one: Case, replicate: int) -> Answered:
        return None if replicate == 0 else works(job, one, replicate)

    run = stage(fails_at_first, cases=CASES[:1], replicates=3)
    run.runner.measure()
    assert [one.looked for one in run.asked if one.job == "measure"] == [False, False, True]


def measured_order(run: Stage) -> list[tuple[Case, int]]:
    return [(one.case, one.replicate) for one in read(run.path) if isinstance(one, Measurement)]


def test_every_second_outcome_disturbed_covers_every_block_and_repeats_take_a_fifth_at_most(
    stage: Callable[..., Stage],
) -> None:
    asked: list[Case] = []

    def ratio(one: Case, _: int) -> float:
        asked.append(one)
        return 0.7 if len(asked) % 2 else 0.0

    run = stage(answering(ratio), cases=ALL_BLOCKS, replicates=5, budget_s=40)
    run.runner.measure()
    order = measured_order(run)
    for one in ALL_BLOCKS:
        assert sum(found == one for found, _ in order) >= 5
    assert run.runner.spent.samples_s == 0.0
    again = sum(bool(one.state.get("repeats")) for one in read_measurements(run))
    assert 0 < again <= 8


def read_measurements(run: Stage) -> list[Measurement]:
    return [one for one in read(run.path) if isinstance(one, Measurement)]


def test_nothing_is_measured_again_before_every_block_has_its_replicates(
    stage: Callable[..., Stage],
) -> None:
    answer = answering(lambda one, replicate: 0.7 if (one, replicate) == (LAST, 0) else 0.0)
    run = stage(answer, cases=ALL_BLOCKS, replicates=3, budget_s=100)
    assert run.runner.measure()
    *order, one, other = measured_order(run)
    # Three rounds of the plain case and its setting, of which the last has the first replicate of
    # the others; two of these with their anchor; then one more of both sides of the ratio, under a
    # number of their own.
    assert {found for found, _ in order[:6]} == {PLAIN, LAST}
    assert max(replicate for _, replicate in order) == 4
    assert sorted([one, other]) == sorted([(PLAIN, 5), (LAST, 5)])


def test_no_block_begins_before_the_blocks_above_have_their_replicates(
    stage: Callable[..., Stage],
) -> None:
    run = stage(cases=ALL_BLOCKS, replicates=3)
    assert run.runner.measure()
    order = measured_order(run)
    first = {
        one: min(at for at, (found, _) in enumerate(order) if found == one)
        for one in order_of(order)
    }
    assert first[PLAIN] < first[LAST] < min(first[COMPILED], first[LAYER])
    for one in (COMPILED, LAYER):  # these two fit in together where no budget is given
        for other in (PLAIN, LAST):
            assert sum(found == other for found, _ in order[: first[one]]) >= 3
    # Each round of a lower block has the base of its ratios.
    numbers = {one: {number for found, number in order if found == one} for one in ALL_BLOCKS}
    assert numbers[COMPILED] <= numbers[PLAIN]
    assert numbers[LAYER] <= numbers[PLAIN]
    assert numbers[LAST] == {0, 1, 2}
    assert numbers[COMPILED] == numbers[LAYER] == {2, 3, 4}


def order_of(order: list[tuple[Case, int]]) -> list[Case]:
    return list(dict.fromkeys(found for found, _ in order))


def test_a_budget_cuts_from_the_bottom(stage: Callable[..., Stage]) -> None:
    run = stage(cases=ALL_BLOCKS, replicates=3, budget_s=7.5)
    assert not run.runner.measure()
    counts = Counter(found for found, _ in measured_order(run))
    assert counts[PLAIN] >= 3
    assert counts[LAST] == 3
    assert 0 < counts[COMPILED] < 3
    assert counts[LAYER] == 0
    assert "layers: 3 outcomes are missing" in run.watched.notes[0]


TRAINING = dataclasses.replace(PLAIN, mode="training", grad_mode=None)
BOTH = tuple(dataclasses.replace(one, compile="default") for one in (PLAIN, TRAINING))


def test_a_compiling_that_would_end_long_after_the_budget_is_put_off_and_cheap_work_goes_on(
    stage: Callable[..., Stage],
) -> None:
    """Compiled inference takes 60 s; plain training takes twice as long as plain inference."""
    cases = (PLAIN, TRAINING, *BOTH, LAYER)
    run = stage(cases=cases, replicates=3, budget_s=150)
    run.watched.slow |= {PLAIN: 1.0, TRAINING: 2.0, BOTH[0]: 60.0, BOTH[1]: 120.0}
    assert not run.runner.measure()
    counts = Counter(one for one, _ in measured_order(run))
    assert (counts[BOTH[0]], counts[BOTH[1]], counts[LAYER]) == (2, 0, 3)
    (note,) = run.watched.notes
    assert note == (
        "convnet training N=8 compile=default and 1 more: put off, since the next outcome would "
        "take about 120 s, and end long after the budget"
    )
    assert sum(one.job == "static_metrics" for one in run.asked) == 4

    rest = stage(cases=cases, replicates=3, budget_s=500)
    assert rest.runner.measure()
    assert {len(rest.runner.seen.replicates(one)) for one in BOTH} == {3}


def test_a_case_that_no_such_budget_holds_is_said_with_one_that_does(
    stage: Callable[..., Stage],
) -> None:
    """A compiling that reached its time limit takes as long the next time, so a resume ends."""

    def too_long(job: str, one: Case, replicate: int) -> Answered:
        return TimedOut() if one in BOTH else works(job, one, replicate)

    cases = (PLAIN, BOTH[0])
    first = stage(too_long, cases=cases, replicates=3, budget_s=20)
    first.watched.slow[BOTH[0]] = 180.0
    assert not first.runner.measure()
    for _ in range(2):
        run = stage(too_long, cases=cases, replicates=3, budget_s=20)
        run.watched.slow[BOTH[0]] = 180.0
        assert not run.runner.measure()
        assert [one.case for one in run.asked if one.job == "measure"] == []
        (note,) = run.watched.notes
        assert note == (
            "convnet inference N=8 compile=default: put off, since the next outcome would take "
            "about 180 s, and end long after the budget; resume the run with --budget 190 or more"
        )
    run = stage(too_long, cases=cases, replicates=3, budget_s=190)
    run.watched.slow[BOTH[0]] = 180.0
    run.runner.measure()
    assert BOTH[0] in [one.case for one in run.asked]


def test_what_is_compiled_on_another_device_tells_nothing(stage: Callable[..., Stage]) -> None:
    other = dataclasses.replace(BOTH[0], device="cuda:0", allocator=None)
    run = stage(cases=(BOTH[0], other), replicates=1, budget_s=100)
    run.watched.slow |= {BOTH[0]: 90.0, other: 90.0}
    run.runner.measure()
    assert {one for one, _ in measured_order(run)} == {BOTH[0], other}


def test_what_stands_on_a_case_that_is_put_off_is_put_off_too(
    stage: Callable[..., Stage],
) -> None:
    """A ratio has both of its sides in one round, so a layer without its network is no use."""
    cases = (PLAIN, LAYER)
    first = stage(cases=cases[:1], replicates=3)
    first.watched.slow[PLAIN] = 60.0
    assert first.runner.measure()
    run = stage(cases=cases, replicates=3, budget_s=30)
    run.watched.slow[PLAIN] = 60.0
    assert not run.runner.measure()
    assert [one.case for one in run.asked if one.job == "measure"] == []
    (note,) = run.watched.notes
    assert note.startswith(
        "convnet/conv1 inference N=8: put off, since the next outcome would take"
    )


LEAST = {"replicates": 5, "least_replicates": 3}


def test_every_block_has_the_least_replicates_before_any_has_more(
    stage: Callable[..., Stage],
) -> None:
    run = stage(cases=ALL_BLOCKS, **LEAST, budget_s=19.5)
    run.watched.slow |= dict.fromkeys(ALL_BLOCKS, 1.0)
    assert not run.runner.measure()  # of the 22 outcomes that all replicates take
    order = measured_order(run)
    counts: Counter[Case] = Counter()
    for found, _ in order:
        if counts[found] >= 3 and found != PLAIN:  # plain is the base of ratios in every block
            assert min(counts[one] for one in ALL_BLOCKS) >= 3
        counts[found] += 1
    # More are measured in rounds of all blocks.
    numbers = {one: {number for found, number in order if found == one} for one in ALL_BLOCKS}
    assert all(5 in numbers[one] for one in (LAYER, COMPILED, LAST))
    # The count has the bases that the lower blocks measure again, in two rounds.
    assert run.watched.left[0] == 20 + 2


def test_rounds_are_of_all_blocks_as_soon_as_all_fits_into_the_budget(
    stage: Callable[..., Stage],
) -> None:
    run = stage(cases=ALL_BLOCKS, **LEAST, budget_s=24)
    run.watched.slow |= dict.fromkeys(ALL_BLOCKS, 1.0)
    assert run.runner.measure()
    numbers = {
        one: {number for found, number in measured_order(run) if found == one} for one in ALL_BLOCKS
    }
    assert numbers[LAST] == {0, 1, 2, 3, 4}
    assert numbers[COMPILED] == numbers[LAYER] == {2, 3, 4, 5, 6}
    assert numbers[PLAIN] == {0, 1, 2, 3, 4, 5, 6}
    assert run.watched.left[-1] == 0


def test_a_budget_that_holds_the_least_replicates_alone_says_so_and_a_resume_measures_the_rest(
    stage: Callable[..., Stage],
) -> None:
    run = stage(cases=ALL_BLOCKS, **LEAST, budget_s=16.5)
    run.watched.slow |= dict.fromkeys(ALL_BLOCKS, 1.0)
    assert not run.runner.measure()
    counts = Counter(found for found, _ in measured_order(run))
    assert min(counts.values()) >= 3
    missing = sum(max(0, 5 - counts[one]) for one in ALL_BLOCKS)
    assert run.watched.notes == [
        (
            "the budget of 16 s is used up in replicate 6; "
            f"not measured: {missing} replicates beyond the first 3 of each case"
        )
    ]
    rest = stage(cases=ALL_BLOCKS, **LEAST)
    assert rest.runner.measure()
    counts = Counter(found for found, _ in measured_order(rest))
    assert min(counts.values()) == 5


def test_one_off_work_is_worth_more_than_replicates_beyond_the_least(
    stage: Callable[..., Stage],
) -> None:
    # It does not fit into its share of the budget, so it waits until the blocks are through.
    run = stage(cases=ALL_BLOCKS, **LEAST, budget_s=45)
    run.watched.slow |= dict.fromkeys(ALL_BLOCKS, 1.0)
    at: list[int] = []
    run.runner.one_off = OneOff(lambda: at.append(len(run.watched.outcomes)), 30.0, "measure peaks")
    assert run.runner.measure()
    assert at == [14]
    assert min(Counter(found for found, _ in measured_order(run)).values()) == 5


def test_after_a_resume_one_off_work_comes_before_replicates_beyond_the_least(
    stage: Callable[..., Stage],
) -> None:
    first = stage(cases=CASES, replicates=3)
    first.watched.slow |= dict.fromkeys(CASES, 1.0)
    assert first.runner.measure()
    run = stage(cases=CASES, **LEAST, budget_s=6.5)  # of the 6 outcomes that are beyond
    run.watched.slow |= dict.fromkeys(CASES, 1.0)
    at: list[int] = []
    run.runner.one_off = OneOff(lambda: at.append(len(run.watched.outcomes)), 1.5, "measure peaks")
    run.runner.measure()
    assert at == [0]


def test_one_off_work_that_does_not_fit_in_costs_no_replicate_beyond_the_least_and_is_said_once(
    stage: Callable[..., Stage],
) -> None:
    run = stage(cases=ALL_BLOCKS, **LEAST, budget_s=60)
    run.runner.one_off = OneOff(lambda: None, 50.0, "measure peaks")
    assert run.runner.measure()
    assert min(Counter(found for found, _ in measured_order(run)).values()) == 5
    assert run.watched.notes == ["no time was left to measure peaks"]


def test_one_off_work_that_never_fit_in_is_said_where_the_budget_ends_beyond_the_least(
    stage: Callable[..., Stage],
) -> None:
    run = stage(cases=ALL_BLOCKS, **LEAST, budget_s=16.5)
    run.runner.one_off = OneOff(lambda: None, 50.0, "measure peaks")
    assert not run.runner.measure()
    budget, peaks = run.watched.notes
    assert "beyond the first 3 of each case" in budget
    assert peaks == "no time was left to measure peaks"


def test_what_was_disturbed_is_measured_again_after_the_replicates_beyond_the_least(
    stage: Callable[..., Stage],
) -> None:
    answer = answering(lambda one, replicate: 0.7 if (one, replicate) == (LAST, 0) else 0.0)
    run = stage(answer, cases=ALL_BLOCKS, **LEAST, budget_s=100)
    assert run.runner.measure()
    again = [one.replicate for one in read_measurements(run) if one.state.get("repeats")]
    assert again == [7, 7]


@pytest.mark.parametrize("replicates", [1, 2])
def test_fewer_replicates_than_the_least_are_all(
    stage: Callable[..., Stage], replicates: int
) -> None:
    run = stage(cases=CASES[:1], replicates=replicates, least_replicates=3)
    assert run.runner.measure()
    assert measures(run) == replicates


def test_settings_that_do_not_fit_in_wait_until_the_plain_cases_are_through(
    stage: Callable[..., Stage],
) -> None:
    settings = tuple(dataclasses.replace(PLAIN, threads=str(n)) for n in range(1, 9))
    run = stage(cases=(PLAIN, *settings), replicates=3, budget_s=20.5)
    assert not run.runner.measure()
    order = measured_order(run)
    assert order[:3] == [(PLAIN, 0), (PLAIN, 1), (PLAIN, 2)]
    anchored = {number for found, number in order if found == PLAIN}
    settled = {number for found, number in order if found != PLAIN}
    assert min(settled) == 2
    assert settled - {max(settled)} <= anchored


def test_one_off_work_comes_after_the_first_round_of_the_plain_cases(
    stage: Callable[..., Stage],
) -> None:
    run = stage(cases=ALL_BLOCKS, replicates=2)
    at: list[int] = []
    run.runner.one_off = OneOff(lambda: at.append(len(run.watched.outcomes)), 10.0, "measure peaks")
    run.runner.measure()
    assert at == [2]
    jobs = [one.job for one in run.asked]
    assert jobs[:2] == ["measure", "measure"]
    assert jobs.index("static_metrics") > 1


def test_one_off_work_that_does_not_fit_in_waits_until_every_block_is_through(
    stage: Callable[..., Stage],
) -> None:
    run = stage(cases=ALL_BLOCKS, replicates=2, budget_s=60)
    at: list[int] = []
    run.runner.one_off = OneOff(lambda: at.append(len(run.watched.outcomes)), 10.0, "measure peaks")
    assert run.runner.measure()
    assert at == [sum(1 for _ in measured_order(run))]


@pytest.mark.parametrize(("budget_s", "begun_after"), [(16, []), (100, [3])])
def test_one_off_work_costs_no_replicate(
    stage: Callable[..., Stage], budget_s: int, begun_after: list[int]
) -> None:
    """After three outcomes of 0.5 s the other 27 need 15 s."""
    run = stage(replicates=10, budget_s=budget_s)
    at: list[int] = []
    run.runner.one_off = OneOff(lambda: at.append(len(run.watched.outcomes)), 1.0, "measure peaks")
    run.runner.measure()
    assert at == begun_after


def test_other_one_off_work_does_not_make_the_counted_figures_look_dear(
    stage: Callable[..., Stage],
) -> None:
    run = stage(replicates=2, budget_s=200)
    run.runner.spent.one_off_s = 20.0  # of the 30 s that one-off work may take
    assert run.runner.measure()
    jobs = [one.job for one in run.asked if one.job != "reference"]
    assert jobs[:6] == ["measure"] * 3 + ["static_metrics"] * 3


def test_the_counted_figures_of_settings_wait_until_one_replicate_is_missing(
    stage: Callable[..., Stage],
) -> None:
    setting = dataclasses.replace(PLAIN, threads="1")
    run = stage(cases=(PLAIN, setting), replicates=3)
    assert run.runner.measure()
    asked = [(one.job, one.case) for one in run.asked if one.job != "reference"]
    assert asked.index(("static_metrics", PLAIN)) == 2
    assert asked.index(("static_metrics", setting)) == 5


def static_found(run: Stage) -> list[StaticMetrics]:
    return [one for one in read(run.path) if isinstance(one, StaticMetrics)]


def test_counting_that_the_budget_ended_says_so_and_a_resume_with_more_time_tries_again(
    stage: Callable[..., Stage],
) -> None:
    def late(job: str, one: Case, replicate: int) -> Answered:
        return TimedOut() if job == "static_metrics" else works(job, one, replicate)

    run = stage(late, (PLAIN,), replicates=2, budget_s=60)
    assert run.runner.measure()
    (found,) = static_found(run)
    assert found.limit_s == 15.0
    assert found.problems == {
        "all": "not done after 15 s (its share of --budget; --resume with a larger one tries again)"
    }
    assert [one.job for one in run.asked].count("static_metrics") == 1
    same = stage(cases=(PLAIN,), replicates=2, budget_s=60)
    assert same.runner.measure()
    assert same.asked == []
    more = stage(cases=(PLAIN,), replicates=2, budget_s=600)
    assert more.runner.measure()
    assert [one.timeout_s for one in more.asked if one.job == "static_metrics"] == [90.0]
    (again,) = static_found(more)
    assert (again.metrics, again.problems, again.limit_s) == ({"flops": 5.0}, {}, None)


def test_a_reference_that_the_budget_ended_is_asked_for_once_and_again_with_more_time(
    stage: Callable[..., Stage], tmp_path: Path
) -> None:
    cases = (PLAIN, dataclasses.replace(PLAIN, threads="1"))  # of one reference

    def late(job: str, one: Case, replicate: int) -> Answered:
        return TimedOut() if job == "reference" else works(job, one, replicate)

    run = stage(late, cases, replicates=2, budget_s=60)
    assert run.runner.measure()
    assert [one.limit_s for one in static_found(run)] == [15.0, 15.0]
    assert [one.job for one in run.asked].count("reference") == 1
    (why,) = tmp_path.glob("scratch/reference/*.txt")
    assert why.read_text().startswith("there is no float64 reference: not done after 15 s (its ")
    more = stage(cases=cases, replicates=2, budget_s=600)
    assert more.runner.measure()
    assert "reference" in [one.job for one in more.asked]
    assert [one.limit_s for one in static_found(more)] == [None, None]
    assert not why.exists()


@pytest.mark.parametrize(("energy", "readable"), [(True, True), (True, False), (False, True)])
def test_no_interpreters_start_while_the_energy_of_the_machine_is_counted(
    energy: bool, readable: bool, stage: Callable[..., Stage], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rapl, "opened", lambda: rapl.Rapl() if readable else None)
    run: Stage | None = None
    starting: list[bool] = []

    def answer(job: str, one: Case, replicate: int) -> Answered:
        assert run is not None
        if job == "static_metrics":
            starting.append(run.runner.starting is not None)
        return works(job, one, replicate)

    run = stage(answer, (PLAIN,), replicates=2, energy=energy)
    assert run.runner.measure()
    assert starting == [not (energy and readable)]


def test_the_interpreters_of_the_next_round_start_while_figures_are_counted(
    stage: Callable[..., Stage],
) -> None:
    run = stage(cases=(PLAIN,), replicates=2, energy=False)
    at: list[int] = []  # requests so far when an interpreter is started
    start = run.runner.start

    def noted(**given: Any) -> Any:
        at.append(sum(one.job == "measure" for one in run.asked))
        return start(**given)

    run.runner.start = noted
    assert run.runner.measure()
    assert at == [0, 1]
    assert [one.job for one in run.asked if one.job != "reference"].count("measure") == 2


@dataclass
class FakeStarting:
    """Stands for `Starting`: ready after so many looks."""

    pool: Any
    looks: int = 0
    dropped: bool = False
    took_s: float = 7.0

    @property
    def ready(self) -> bool:
        self.looks -= 1
        return self.looks < 0

    def started(self) -> Any:
        return self.pool

    def drop(self) -> None:
        self.dropped = True


def test_cases_are_counted_while_the_next_interpreters_start(
    stage: Callable[..., Stage], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = tuple(dataclasses.replace(PLAIN, threads=str(n)) for n in range(1, 9))
    run = stage(cases=(PLAIN, *settings), replicates=3, energy=False)
    made: list[int] = []

    def start_next(runner: Runner, _: Any) -> None:
        if not made:
            runner.starting = FakeStarting(runner._pool(runner._next_round(resumed=False), ()), 3)  # type: ignore[assignment, arg-type]
        made.append(1)

    monkeypatch.setattr(Runner, "_start_next", start_next)
    assert run.runner.measure()
    jobs = [one.job for one in run.asked if one.job != "reference"]
    first = jobs[jobs.index("static_metrics") :]
    # The plain case, and a setting each time that the interpreters are not ready.
    assert first.index("measure") == 1 + 3


@pytest.mark.parametrize("serves", [True, False])
def test_interpreters_that_start_already_are_taken_over_or_ended(
    stage: Callable[..., Stage], monkeypatch: pytest.MonkeyPatch, serves: bool
) -> None:
    run = stage(cases=(PLAIN,), replicates=1)
    early = run.runner._pool(Round(Block.PLAIN, 0, (PLAIN,)), (PLAIN,))
    early.server_of(PLAIN)
    run.runner.starting = starting = FakeStarting(early)  # type: ignore[assignment]
    monkeypatch.setattr(WorkerPool, "serves_as", lambda *_: serves)
    started: list[Any] = []

    def start(**given: Any) -> Any:
        started.append(given)
        return FakeForkServer(works, [])

    run.runner.start = start
    assert run.runner.measure()
    assert starting.dropped is not serves
    assert len(started) == (0 if serves else 1)
    assert run.runner.starting is None


def test_interpreters_that_nothing_asks_are_ended_however_the_run_ends(
    stage: Callable[..., Stage],
) -> None:
    run = stage(cases=(PLAIN,), replicates=1)
    run.runner.starting = starting = FakeStarting(None)  # type: ignore[assignment]

    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    run.watched.begin = interrupt  # type: ignore[method-assign, assignment]
    with pytest.raises(KeyboardInterrupt):
        run.runner.measure()
    assert starting.dropped


def test_after_a_resume_a_block_does_not_begin_in_the_round_that_was_interrupted(
    stage: Callable[..., Stage],
) -> None:
    """The bases of its ratios may be those of yesterday."""
    cases = (PLAIN, TRAINING, COMPILED, LAYER)
    asked: list[Case] = []

    def interrupted(job: str, one: Case, replicate: int) -> Answered:
        asked.extend([one] if job == "measure" else [])
        if len(asked) == 6:  # of the two outcomes of the third round the second
            raise KeyboardInterrupt
        return works(job, one, replicate)

    first = stage(interrupted, cases=cases, replicates=3)
    with pytest.raises(KeyboardInterrupt):
        first.runner.measure()
    rest = stage(cases=cases, replicates=3)
    assert rest.runner.measure()
    numbers = {
        one: {number for found, number in measured_order(rest) if found == one} for one in cases
    }
    assert numbers[PLAIN] == {0, 1, 2, 3, 4, 5}
    assert numbers[TRAINING] == {0, 1, 2}
    assert numbers[COMPILED] == numbers[LAYER] == {3, 4, 5}


def test_layers_are_repeated_as_often_as_other_cases(stage: Callable[..., Stage]) -> None:
    answer = answering(lambda one, _: 0.7 if one == LAYER else 0.0)
    run = stage(answer, cases=ALL_BLOCKS, **LEAST, budget_s=1000)
    assert run.runner.measure()
    again = [one for one in read_measurements(run) if one.state.get("repeats")]
    assert sum(one.case == LAYER for one in again) == policy.MOST_REPEATS


def test_where_all_does_not_fit_any_more_the_blocks_come_first_again(
    stage: Callable[..., Stage],
) -> None:
    """A machine that gets slower leaves no block without its least replicates for others' more."""
    run = stage(cases=ALL_BLOCKS, **LEAST, budget_s=40)
    run.watched.slow |= dict.fromkeys(ALL_BLOCKS, 1.0)

    def slower(job: str, one: Case, replicate: int) -> Answered:
        if replicate == 3:
            run.watched.slow |= dict.fromkeys(ALL_BLOCKS, 2.0)
        return works(job, one, replicate)

    answer = slower
    run.runner.start = lambda **_: FakeForkServer(answer, run.asked, slow=run.watched.slow)  # type: ignore[assignment]
    run.runner.measure()
    numbers = {
        one: {number for found, number in measured_order(run) if found == one} for one in ALL_BLOCKS
    }
    assert 3 in numbers[LAST]  # all fitted in
    assert 4 not in numbers[LAST]
    assert 4 in numbers[COMPILED] | numbers[LAYER]


def test_one_off_work_that_never_fits_in_is_said(stage: Callable[..., Stage]) -> None:
    run = stage(cases=(PLAIN,), replicates=2, budget_s=60)
    run.runner.one_off = OneOff(lambda: pytest.fail("there is no time"), 100.0, "measure peaks")
    assert run.runner.measure()
    assert "no time was left to measure peaks" in run.watched.notes


def test_after_the_time_for_extras_only_what_lacks_its_replicates_is_measured(
    stage: Callable[..., Stage],
) -> None:
    run = stage(replicates=5, budget_s=100, extras_s=7)
    done: list[str] = []
    run.runner.one_off = OneOff(lambda: done.append("peaks"), 5.0, "measure peaks")
    run.runner.measure()
    assert len(run.ids()) == 15
    assert done == []


def test_a_case_is_measured_in_an_interpreter_that_has_its_allocator(
    stage: Callable[..., Stage],
) -> None:
    cases = tuple(case(batch=n, allocator=kind) for n in (1, 8) for kind in ("retained", "system"))
    run = stage(cases=cases, replicates=2)
    asked: dict[str, list[Request]] = {"retained": [], "system": []}
    sessions: list[FakeForkServer] = []

    def start(*, allocator: str, **_: object) -> FakeForkServer:
        sessions.append(FakeForkServer(works, asked[allocator]))
        return sessions[-1]

    run.runner.start = start  # type: ignore[assignment]
    assert run.runner.measure()
    for kind, requests in asked.items():
        assert {one.case.allocator for one in requests} == {kind}
    assert len(sessions) == 4  # one of each kind, anew in each replicate
    assert all(one.dead for one in sessions)


def test_an_interrupt_keeps_what_is_finished(stage: Callable[..., Stage]) -> None:
    def interrupt(job: str, one: Case, replicate: int) -> Entry | WorkerLost | None:
        if replicate == 1:
            raise KeyboardInterrupt
        return works(job, one, replicate)

    run = stage(interrupt, replicates=3)
    with pytest.raises(KeyboardInterrupt):
        run.runner.measure()
    assert len(run.ids()) == 3


def test_the_count_of_what_is_left_has_the_bases_that_layers_measure_again(
    stage: Callable[..., Stage],
) -> None:
    whole = case(batch=8)
    layer = dataclasses.replace(whole, subject="convnet/conv1")
    run = stage(cases=(whole, layer), replicates=3)
    assert run.runner.measure()
    assert run.watched.left[0] == 3 + 3 + 2
    assert len(run.watched.outcomes) == 8
    assert run.watched.left[-1] == 0


ON_TWO = tuple(
    case(batch=batch, device=device, threads=None, allocator=None)
    for device in ("cuda:0", "cuda:1")
    for batch in (1, 8)
)


def test_parallel_devices_are_measured_at_the_same_time_and_flagged(
    stage: Callable[..., Stage],
) -> None:
    both = threading.Barrier(2, timeout=30)  # broken, which raises, unless two cases are under way

    def meets(job: str, one: Case, replicate: int) -> Entry | WorkerLost | None:
        if job == "measure":
            both.wait()
        return works(job, one, replicate)

    here = stage(meets, ON_TWO, replicates=2, parallel_devices=True)
    assert here.runner.measure()
    found = [one for one in read(here.path) if isinstance(one, Measurement)]
    assert Counter(one.case.device for one in found) == {"cuda:0": 4, "cuda:1": 4}
    assert all("parallel" in one.flags for one in found)


def test_devices_take_turns_unless_it_is_asked_otherwise(stage: Callable[..., Stage]) -> None:
    threads = set[int]()

    def seen_by(job: str, one: Case, replicate: int) -> Entry | WorkerLost | None:
        threads.add(threading.get_ident())
        return works(job, one, replicate)

    here = stage(seen_by, ON_TWO, replicates=2)
    assert here.runner.measure()
    assert threads == {threading.get_ident()}
    assert not any(one.flags for one in read(here.path) if isinstance(one, Measurement))


def test_one_device_alone_is_not_parallel(stage: Callable[..., Stage]) -> None:
    here = stage(works, ON_TWO[:2], replicates=1, parallel_devices=True)
    assert here.runner.measure()
    assert not any(one.flags for one in read(here.path) if isinstance(one, Measurement))


def test_an_error_on_one_device_ends_the_others_and_what_they_measured_then_does_not_count(
    stage: Callable[..., Stage], monkeypatch: pytest.MonkeyPatch
) -> None:
    both = threading.Barrier(2, timeout=30)
    over = threading.Event()

    def breaks(job: str, one: Case, replicate: int) -> Entry | WorkerLost | None:
        both.wait()
        if one.device == "cuda:1":
            raise DiskFull("no room")
        assert over.wait(30)
        return works(job, one, replicate)

    here = stage(breaks, ON_TWO, replicates=1, parallel_devices=True)
    monkeypatch.setattr(FakeForkServer, "kill", lambda _: over.set())
    with pytest.raises(DiskFull, match="no room"):
        here.runner.measure()
    assert here.ids() == []
