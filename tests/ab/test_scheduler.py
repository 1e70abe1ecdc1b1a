"""The choice of the next pair: stages, the null case, the budget, a resume."""

import dataclasses
import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from bench.ab import pair_journal
from bench.ab.pair_journal import (
    Failed,
    Pair,
    PairJournalError,
    PairsSoFar,
    SideStaticMetrics,
    pair_of,
    read,
    to_line,
)
from bench.ab.scheduler import Pairs, values
from bench.core.records import Case, Failure, Measurement, Samples, Status
from bench.results.journal import Journal
from bench.verdict import paired_test
from bench.verdict.looks import Stage
from tests.support.cases import case

CHEAP, DEAR = case(batch=1), case(batch=8)
UNCLEAR = 1.12  # noise that leaves 10 % undecided at every look
SEGFAULT = Failed(status="crash", reason="ended by SIGSEGV")
CASES = {one.case_id: one for one in (DEAR, CHEAP)}


@dataclass
class World:
    """Interpreters that behave: B takes `factor` times as long as A."""

    path: Path
    factor: dict[str, float] = field(default_factory=dict)
    noise: float = 1.04  # so much that no case is clear before its stage ends
    failing: dict[str, str] = field(default_factory=dict)  # key → side
    status: Status = "error"  # of what fails
    crashing: set[int] = field(default_factory=set)  # comparisons, from 0, in which B crashes
    wrong: dict[str, str] = field(default_factory=dict)  # key → side
    cases: dict[str, Case] = field(default_factory=lambda: CASES)
    disturbed: list[bool] = field(default_factory=list)  # one a comparison, in their order
    opened: list[tuple[Stage, int]] = field(default_factory=list)
    made: list[tuple[Stage, int, str, bool]] = field(default_factory=list)
    now_s: float = 0.0
    static_metrics_s: float = 0.0  # that counting takes
    stop_at: int | None = None  # comparisons, then Ctrl-C

    def run(self, **changes: object) -> tuple[Pairs, bool]:
        journal = Journal(self.path)
        wanted = {
            "cases": self.cases, "seed": 0, "threshold": 0.05, "budget_s": None, "journal": journal,
            "seen": pair_journal.read(self.path), "open_workers": self._open,
            "tell": lambda _: None, "clock": lambda: self.now_s,
        }  # fmt: skip
        pairs = Pairs(**{**wanted, **changes})  # type: ignore[arg-type]
        try:
            return pairs, pairs.measure()
        finally:
            journal.close()

    @contextmanager
    def _open(self, stage: Stage, number: int) -> Iterator["_Workers"]:
        self.opened.append((stage, number))
        yield _Workers(self, stage, number)


@dataclass
class _Workers:
    world: World
    stage: Stage
    number: int

    def compare(self, key: str, *, null: bool) -> Pair:
        world = self.world
        if world.stop_at is not None and len(world.made) >= world.stop_at:
            raise KeyboardInterrupt
        world.now_s += 1
        world.made.append((self.stage, self.number, key, null))
        broken = Failed(status=world.status, reason="broken")
        failed = {world.failing[key]: broken} if key in world.failing else {}
        if len(world.made) - 1 in world.crashing:
            failed = {"B": SEGFAULT}
        if failed:
            return Pair(stage=self.stage, number=self.number, key=key, null=null, failed=failed)
        a_s = 0.001 * world.cases[key].batch
        # Pairs scatter, as far to one side as to the other.
        noise = world.noise if self.number % 2 else 1 / world.noise
        b_s = a_s * noise * (1.0 if null else world.factor.get(key, 1.0))
        disturbed = world.disturbed.pop(0) if world.disturbed else False
        return Pair(
            stage=self.stage, number=self.number, key=key, null=null, calls=1,
            samples={"forward": ((a_s,) * 4, (b_s,) * 4)},
            metrics={"A": {"contention_ratio": 0.5 if disturbed else 0.0}, "B": {}},
            flags={"A": ("contended",) if disturbed else (), "B": ()},
        )  # fmt: skip

    def static_metrics(self, key: str) -> list[SideStaticMetrics]:
        self.world.now_s += self.world.static_metrics_s
        return [
            SideStaticMetrics(
                key=key, side=side, metrics={"flops": 7.0},
                invalid="far off" if self.world.wrong.get(key) == side else None,
            )
            for side in ("A", "B")
        ]  # fmt: skip


@pytest.fixture
def world(tmp_path: Path) -> World:
    (tmp_path / "pairs.jsonl").touch()
    return World(tmp_path / "pairs.jsonl")


def test_identical_sides_get_six_pairs_and_the_cheapest_case_runs_against_itself(
    world: World,
) -> None:
    pairs, complete = world.run()
    assert complete
    assert world.opened == [("first", number) for number in range(6)]
    nulls = [at for at in world.made if at[3]]
    assert nulls == [("first", number, CHEAP.case_id, True) for number in range(6)]
    assert len(world.made) == 6 * 3
    assert set(pairs.seen.static_metrics) == {(key, side) for key in CASES for side in "AB"}


def test_a_suspect_that_stays_unclear_gets_forty_fresh_pairs_with_the_null_case_and_alone(
    world: World,
) -> None:
    world.noise, world.factor = UNCLEAR, {DEAR.case_id: 1.10}
    pairs, complete = world.run()
    assert complete
    fresh = [at for at in world.made if at[0] == "fresh"]
    assert {at[2:] for at in fresh} == {(DEAR.case_id, False), (CHEAP.case_id, True)}
    assert len(fresh) == 2 * 40
    (dear,) = values(pairs.seen, [DEAR.case_id], again=pairs.suspects())
    assert (len(dear.first), len(dear.fresh)) == (6, 40)
    assert dear.fresh[0] == pytest.approx(math.log(1.10 / UNCLEAR))
    assert dear.fresh_means == pytest.approx(dear.fresh)
    (cheap,) = values(pairs.seen, [CHEAP.case_id], again=pairs.suspects())
    assert (len(cheap.first), cheap.fresh) == (6, ())


def test_a_case_that_is_clearly_the_same_gets_no_more_than_four_pairs(world: World) -> None:
    world.noise = 1.01
    _, complete = world.run()
    assert complete
    assert world.opened == [("first", number) for number in range(4)]
    assert len(world.made) == 4 * 3  # and the null case ends with the others


def test_a_case_that_is_clearly_worse_gets_no_more_than_eight_fresh_pairs(world: World) -> None:
    world.noise, world.factor = 1.01, {DEAR.case_id: 1.10}
    _, complete = world.run()
    assert complete
    assert sum(at[2] == DEAR.case_id for at in world.made if at[0] == "first") == 6
    assert sum(at[2:] == (CHEAP.case_id, False) for at in world.made) == 4
    assert world.opened[6:] == [("fresh", number) for number in range(8)]


def test_a_bias_of_the_machine_does_not_make_a_case_the_same_sooner(world: World) -> None:
    world.noise = 1.08  # within 20 % beyond doubt after four pairs, and not within 5 %
    _, complete = world.run(bias=0.2)
    assert complete
    assert world.opened == [("first", number) for number in range(6)]


def test_a_bias_of_the_machine_makes_a_case_worse_later(world: World) -> None:
    world.noise, world.factor = 1.01, {DEAR.case_id: 1.10}
    _, complete = world.run(bias=0.09)
    assert complete
    assert len([at for at in world.opened if at[0] == "fresh"]) > 8


def test_a_suspect_that_turns_out_harmless_gets_no_more_than_eight_fresh_pairs(
    world: World,
) -> None:
    world.noise, world.factor = 1.01, {DEAR.case_id: 1.03}
    _, complete = world.run()
    assert complete
    assert world.opened[6:] == [("fresh", number) for number in range(8)]


def test_a_resume_stops_where_the_whole_would_have_stopped(world: World) -> None:
    world.noise, world.factor, world.stop_at = 1.01, {DEAR.case_id: 1.10}, 15
    with pytest.raises(KeyboardInterrupt):
        world.run()
    world.stop_at = None
    world.run()
    after = list(world.made)
    world.run()
    assert world.made == after
    assert len(after) == len(set(after)) == 6 * 2 + 4 + 8 * 2


def test_the_order_is_drawn_anew_in_each_pair_and_is_the_same_for_the_same_seed(
    world: World, tmp_path: Path
) -> None:
    world.run()
    orders = [[at[2] for at in world.made if at[1] == number and not at[3]] for number in range(6)]
    assert any(order != orders[0] for order in orders[1:])
    (tmp_path / "again").touch()
    again = World(tmp_path / "again")
    again.run()
    assert again.made == world.made


def test_more_pairs_can_be_added_to_what_is_there(world: World) -> None:
    world.noise, world.factor = 1.07, {DEAR.case_id: 1.05}
    few, complete = world.run(pairs=20)
    assert complete
    assert len(few.seen.of(DEAR.case_id, "fresh")) == 20
    before = list(world.made)
    more, complete = world.run(pairs=80)
    assert complete
    assert world.made[: len(before)] == before
    assert len(world.made) == len(set(world.made))
    # Suspects are chosen by as large a part of all pairs as before.
    assert len(more.seen.of(DEAR.case_id, "first")) == len(more.seen.of(CHEAP.case_id, "first"))
    assert len(more.seen.of(DEAR.case_id, "first")) == 12
    assert len(more.seen.of(DEAR.case_id, "fresh")) == 80
    world.run(pairs=80)
    assert len(world.made) == len(set(world.made))


def test_an_interrupted_comparison_goes_on_where_it_stopped(world: World) -> None:
    world.noise, world.factor, world.stop_at = UNCLEAR, {DEAR.case_id: 1.10}, 11
    with pytest.raises(KeyboardInterrupt):
        world.run()
    world.stop_at = None
    _, complete = world.run()
    assert complete
    assert len(world.made) == len(set(world.made)) == 6 * 3 + 40 * 2


def test_counted_figures_that_an_interrupt_prevented_are_found_by_the_resume(world: World) -> None:
    world.run()
    lines = world.path.read_text().splitlines()
    kept = [one for one in lines if '"sidefacts"' not in one]
    assert len(kept) == len(lines) - 4
    world.path.write_text("\n".join(kept) + "\n")
    before = len(world.made)
    pairs, complete = world.run()
    assert complete
    assert len(world.made) == before
    assert set(pairs.seen.static_metrics) == {(key, side) for key in CASES for side in "AB"}


def test_the_budget_ends_it_between_two_cases(world: World) -> None:
    _, complete = world.run(budget_s=4.0)
    assert not complete
    assert len(world.made) == 5  # the fifth began at 4 s, when the budget was not exceeded
    _, complete = world.run()
    assert complete
    assert len(world.made) == len(set(world.made)) == 18


def test_nor_is_counting_begun_after_the_budget(world: World) -> None:
    world.static_metrics_s = 10.0
    pairs, complete = world.run(budget_s=5.0)
    assert not complete
    assert len({key for key, _ in pairs.seen.static_metrics}) == 1
    pairs, complete = world.run()
    assert complete
    assert len({key for key, _ in pairs.seen.static_metrics}) == 2


def test_a_case_that_fails_twice_is_given_up_and_the_others_go_on(world: World) -> None:
    world.failing = {DEAR.case_id: "B"}
    pairs, complete = world.run()
    assert complete
    assert pairs.given_up(DEAR.case_id)
    assert sum(at[2] == DEAR.case_id for at in world.made) == 2
    assert sum(at[2:] == (CHEAP.case_id, False) for at in world.made) == 6


def at(world: World, *wanted: object) -> int:
    """Return the number of a comparison in an undisturbed world."""
    (found,) = [number for number, made in enumerate(world.made) if made == wanted]
    return found


@pytest.fixture
def calm(tmp_path: Path) -> World:
    """A world that has run through: its order is that of any other with its seed."""
    (tmp_path / "calm").touch()
    world = World(tmp_path / "calm")
    world.run()
    return world


def test_a_pair_that_a_crash_cost_is_measured_once_more_and_all_is_known(
    world: World, calm: World
) -> None:
    world.crashing = {at(calm, "first", 2, DEAR.case_id, False)}
    pairs, complete = world.run()
    assert complete
    assert world.made[:18] == calm.made
    again = {("first", 10_002, DEAR.case_id, False), ("first", 10_002, CHEAP.case_id, True)}
    assert set(world.made[18:]) == again
    assert [one.number for one in pairs.seen.of(DEAR.case_id, "first")] == [0, 1, 3, 4, 5, 10_002]
    assert not pairs.given_up(DEAR.case_id)
    before = list(world.made)
    world.run()
    assert world.made == before


def test_whether_a_crash_comes_again_is_tried_of_a_case_that_is_clear_as_well(
    world: World, calm: World
) -> None:
    world.noise, world.crashing = 1.01, {at(calm, "first", 0, DEAR.case_id, False)}
    pairs, _ = world.run()
    numbers = [one.number for one in pairs.seen.of(DEAR.case_id, "first")]
    assert numbers == [1, 2, 3, 4, 10_000]  # clear after four, and once more


def test_one_that_crashes_again_is_given_up(world: World, calm: World) -> None:
    world.crashing = {at(calm, "first", 2, DEAR.case_id, False), 18, 19}
    pairs, complete = world.run()
    assert complete
    assert len(world.made) == 20
    assert pairs.given_up(DEAR.case_id)


def test_a_fresh_pair_that_a_crash_cost_is_measured_once_more(world: World) -> None:
    world.noise, world.factor = UNCLEAR, {DEAR.case_id: 1.10}
    world.crashing = {20, 21}  # one of them is its, one the null case's
    pairs, complete = world.run()
    assert complete
    assert len(pairs.seen.of(DEAR.case_id, "fresh")) == 40
    assert len(pairs.seen.failures(DEAR.case_id)) == 1
    assert len(pairs.seen.failures(CHEAP.case_id, null=True)) == 1


def test_an_interrupted_comparison_makes_up_for_a_lost_pair_once(world: World, calm: World) -> None:
    world.crashing, world.stop_at = {at(calm, "first", 2, DEAR.case_id, False)}, 19
    with pytest.raises(KeyboardInterrupt):
        world.run()
    world.stop_at = None
    _, complete = world.run()
    assert complete
    assert len(world.made) == len(set(world.made)) == 20


def test_a_crash_in_the_first_pair_costs_no_counted_figures(world: World, calm: World) -> None:
    world.crashing = {at(calm, "first", 0, DEAR.case_id, False)}
    pairs, _ = world.run()
    assert set(pairs.seen.static_metrics) == {(key, side) for key in CASES for side in "AB"}


def test_what_cannot_run_here_is_not_tried_again(world: World) -> None:
    world.failing, world.status = {DEAR.case_id: "B"}, "unsupported"
    pairs, complete = world.run()
    assert complete
    assert pairs.given_up(DEAR.case_id)
    assert sum(made[2] == DEAR.case_id for made in world.made) == 1


def test_a_case_that_computes_something_else_is_not_timed_any_longer(world: World) -> None:
    world.wrong = {DEAR.case_id: "B"}
    pairs, complete = world.run()
    assert complete
    assert pairs.wrong(DEAR.case_id) == {"B": "far off"}
    assert sum(made[2] == DEAR.case_id for made in world.made) == 1
    assert sum(made[2:] == (CHEAP.case_id, False) for made in world.made) == 6


def test_a_crash_while_a_disturbed_pair_is_repeated_is_not_forgotten(world: World) -> None:
    world.disturbed, world.crashing = [True], {1}
    pairs, _ = world.run()
    assert world.made[0] == world.made[1]
    (failed,) = pairs.seen.failures(world.made[0][2])
    assert failed.failed == {"B": SEGFAULT}


def test_five_hundred_cases_are_decided_in_one_pass_over_their_pairs(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is asked before each comparison must not look at those of all the others."""
    calls = {"suspects": 0, "pair_value": 0, "of": 0}

    def counted(module: object, name: str) -> None:
        kept = getattr(module, name)

        def call(*given: object, **more: object) -> object:
            calls[name] += 1
            return kept(*given, **more)

        monkeypatch.setattr(module, name, call)

    monkeypatch.setattr("os.fsync", lambda _: None)  # ten thousand of them
    counted(paired_test, "suspects")
    counted(pair_journal, "pair_value")
    counted(PairsSoFar, "of")
    world.cases = {one.case_id: one for one in (case(batch=n) for n in range(1, 501))}
    world.noise, world.factor = 1.01, dict.fromkeys(world.cases, 1.10)
    pairs, complete = world.run()
    made = 500 * (6 + 16)  # of which the last look is worse beyond doubt, among 500
    assert complete
    assert len(pairs.suspects()) == 500
    assert len(world.made) == made + 22
    assert calls["suspects"] == 2
    assert calls["pair_value"] <= len(world.made)
    assert calls["of"] < 20 * made


def test_what_other_work_disturbed_is_measured_again_and_the_quieter_one_counts(
    world: World,
) -> None:
    world.disturbed = [True, False]
    pairs, _ = world.run()
    assert len(world.made) == 18 + 1
    assert world.made[0] == world.made[1]
    assert not any(pair_journal.contended(one) for one in pairs.seen.pairs.values())


def test_on_a_machine_that_is_busy_for_good_repeats_end(world: World) -> None:
    world.disturbed = [True] * 100
    world.run()
    assert len(world.made) == 18 + 3


def _measured(one: Case, *turns: tuple[float, ...]) -> Measurement:
    samples = tuple(
        Samples(phase="forward", kind="latency", calls_per_sample=3, times_s=turn) for turn in turns
    )
    return Measurement(case=one, replicate=0, samples=samples)


def test_samples_are_paired_turn_by_turn_as_far_as_both_have_them() -> None:
    a = _measured(CHEAP, (1.0, 2.0, 3.0), (4.0, 5.0))
    b = _measured(CHEAP, (10.0, 20.0), (40.0, 50.0))
    pair = pair_of("first", 0, CHEAP.case_id, a, b)
    assert pair.samples == {"forward": ((1.0, 2.0, 4.0, 5.0), (10.0, 20.0, 40.0, 50.0))}
    assert pair.calls == 3


def test_a_side_that_failed_is_named() -> None:
    broken = Failure(case=CHEAP, replicate=0, status="oom", reason="too big")
    pair = pair_of("first", 0, CHEAP.case_id, _measured(CHEAP, (1.0,)), broken)
    assert (pair.failed, pair.samples) == ({"B": Failed(status="oom", reason="too big")}, {})


def test_two_sides_that_failed_are_both_named() -> None:
    a = Failure(case=CHEAP, replicate=0, status="unsupported", reason="no compiler")
    b = Failure(case=CHEAP, replicate=0, status="error", reason="ValueError: boom")
    assert pair_of("first", 0, CHEAP.case_id, a, b).failed == {
        "A": Failed(status="unsupported", reason="no compiler"),
        "B": Failed(status="error", reason="ValueError: boom"),
    }


def test_why_a_side_failed_is_read_back_from_the_journal_and_from_earlier_ones(
    tmp_path: Path,
) -> None:
    why = Failed(status="oom", reason="both sides: too big", cause="together")
    pair = Pair(stage="first", number=0, key="a", failed={"B": why})
    earlier = json.loads(to_line(pair)) | {"number": 1, "failed": {"B": "oom: a: b"}}
    path = tmp_path / "pairs.jsonl"
    path.write_text(f"{to_line(pair)}\n{json.dumps(earlier)}\n", encoding="utf-8")
    found = [one.failed["B"] for one in read(path).failures("a")]
    assert found == [why, Failed(status="oom", reason="a: b")]


def _phases(*wanted: tuple[str, str]) -> Measurement:
    samples = tuple(
        Samples(phase=phase, kind=kind, calls_per_sample=1, times_s=(1.0,))
        for phase, kind in wanted
    )
    return Measurement(case=CHEAP, replicate=0, samples=samples)


def test_phases_that_one_side_alone_has_are_kept_by_name() -> None:
    a = _phases(("step", "latency"), ("optimizer", "latency"), ("optimizer", "latency"))
    b = _phases(("step", "latency"), ("forward", "latency"))
    pair = pair_of("first", 0, "a", a, b)
    assert set(pair.samples) == {"step"}
    assert pair.only == {"A": ("optimizer",), "B": ("forward",)}


def test_times_of_the_host_are_not_held_against_those_of_a_device() -> None:
    a = _phases(("step", "latency"), ("step", "device"))
    b = _phases(("step", "device"))
    assert pair_of("first", 0, "a", a, b).samples == {"step": ((1.0,), (1.0,))}
    only_host = _phases(("step", "latency"))
    pair = pair_of("first", 0, "a", only_host, b)
    assert (pair.samples, pair.only) == ({}, {"A": ("step",), "B": ("step",)})


def test_a_record_comes_back_as_it_was_and_a_torn_line_does_not_count(tmp_path: Path) -> None:
    pair = pair_of("fresh", 3, "a", _measured(CHEAP, (1.0,)), _measured(CHEAP, (2.0,)), null=True)
    found = SideStaticMetrics(
        key="a", side="B", metrics={"flops": 2.0}, problems={"energy": "none"}, invalid="far off"
    )
    path = tmp_path / "pairs.jsonl"
    path.write_text(f"{to_line(pair)}\n{to_line(found)}\n{to_line(pair)[:40]}")
    seen = pair_journal.read(path)
    assert seen == PairsSoFar({("fresh", 3, "a", True): pair}, {("a", "B"): found})


@pytest.mark.parametrize("line", ["nonsense", "[]", "{}", '{"kind":"pair"}', '{"kind":"other"}'])
def test_a_line_that_is_none_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "pairs.jsonl"
    path.write_text(line + "\n")
    with pytest.raises(PairJournalError, match=r"pairs.jsonl, line 1: not a pair"):
        pair_journal.read(path)


@pytest.mark.parametrize(
    ("text", "failed"),
    [
        ("crash: ended by SIGSEGV", SEGFAULT),
        ("error: ValueError: boom", Failed(status="error", reason="ValueError: boom")),
        (
            "oom: both sides do not fit into memory at once; alone this one runs (no room)",
            Failed(
                status="oom",
                reason="both sides do not fit into memory at once; alone this one runs (no room)",
                cause="together",
            ),
        ),
    ],
)
def test_a_failure_in_a_journal_of_an_earlier_version_has_a_status_as_well(
    tmp_path: Path, text: str, failed: Failed
) -> None:
    one = Pair(stage="first", number=0, key="a", failed={"B": failed})
    line = json.loads(to_line(one)) | {"failed": {"B": text}}
    path = tmp_path / "pairs.jsonl"
    path.write_text(json.dumps(line) + "\n" + to_line(dataclasses.replace(one, number=1)) + "\n")
    assert [pair.failed for pair in pair_journal.read(path).failures("a")] == [{"B": failed}] * 2


def test_a_case_with_a_threshold_of_its_own_is_judged_by_it(world: World) -> None:
    world.noise, world.factor = 1.01, {DEAR.case_id: 1.10}
    pairs, _ = world.run(thresholds={DEAR.case_id: 0.25})
    assert not pairs.suspects()
    assert world.opened == [("first", number) for number in range(4)]


# --- the order of work --------------------------------------------------------------------------

LAYERS = tuple(case(subject=f"convnet/conv{number}", batch=number) for number in (1, 2, 3))
WITH_LAYERS = {one.case_id: one for one in (*LAYERS, DEAR, CHEAP)}


def _order(world: World, stage: Stage, number: int) -> list[str]:
    return [key for at, nr, key, null in world.made if (at, nr) == (stage, number) and not null]


def test_whole_networks_come_before_layers_in_each_pair(world: World) -> None:
    world.cases = WITH_LAYERS
    world.run()
    orders = [_order(world, "first", number) for number in range(4)]
    assert all(set(order[:2]) == set(CASES) for order in orders)
    assert len(set(map(tuple, orders))) > 1  # else drawn anew


def test_a_budget_too_short_for_all_cases_is_spent_on_whole_networks_first(world: World) -> None:
    world.cases = WITH_LAYERS
    _, complete = world.run(budget_s=20.0, expected_s=36.0)
    assert not complete
    pairs = {key: sum(at[2] == key and not at[3] for at in world.made) for key in WITH_LAYERS}
    assert [pairs[key] for key in CASES] == [6, 6]
    assert all(pairs[one.case_id] < 6 for one in LAYERS)


def test_layers_that_a_short_budget_left_out_are_measured_by_a_resume(world: World) -> None:
    world.cases = WITH_LAYERS
    world.run(budget_s=20.0, expected_s=36.0)
    _, complete = world.run()
    assert complete
    kept = pair_journal.read(world.path)
    assert {key: len(kept.of(key, "first")) for key in WITH_LAYERS} == dict.fromkeys(WITH_LAYERS, 6)


def test_of_the_suspects_the_one_that_looks_slowest_is_measured_first(world: World) -> None:
    world.noise, world.cases = UNCLEAR, WITH_LAYERS
    slow, slower, layer = CHEAP.case_id, DEAR.case_id, LAYERS[0].case_id
    world.factor = {slow: 1.10, slower: 1.30, layer: 1.60}
    world.run()
    assert _order(world, "fresh", 0) == [slower, slow, layer]


def test_a_failure_is_told_by_the_name_that_the_case_has_in_tables(world: World) -> None:
    world.failing = {DEAR.case_id: "B"}
    told: list[str] = []
    world.run(tell=told.append, names={DEAR.case_id: "N=8"})
    assert "N=8, side B: error: broken" in told
