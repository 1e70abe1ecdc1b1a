"""Which pair is measured next: stages, the null case, the budget, a resume."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from bench import pair_journal
from bench.journal import Journal
from bench.pair_journal import Pair, PairJournalError, Seen, SideFacts, pair_of, to_line
from bench.pairs import Pairs, values
from bench.read.decide import Stage
from bench.records import Case, Failure, Measurement, Samples
from tests.cases import case

CHEAP, DEAR = case(batch=1), case(batch=8)
CASES = {one.case_id: one for one in (DEAR, CHEAP)}


@dataclass
class World:
    """Interpreters that behave: B takes `factor` times as long as A."""

    path: Path
    factor: dict[str, float] = field(default_factory=dict)
    noise: float = 1.04  # so much that no case is clear before its stage ends
    failing: dict[str, str] = field(default_factory=dict)  # key → side
    disturbed: list[bool] = field(default_factory=list)  # one a comparison, in their order
    opened: list[tuple[Stage, int]] = field(default_factory=list)
    made: list[tuple[Stage, int, str, bool]] = field(default_factory=list)
    now_s: float = 0.0
    stop_at: int | None = None  # comparisons, then Ctrl-C

    def run(self, **changes: object) -> tuple[Pairs, bool]:
        journal = Journal(self.path)
        wanted = {
            "cases": CASES, "seed": 0, "threshold": 0.05, "budget_s": None, "journal": journal,
            "seen": pair_journal.read(self.path), "open_arena": self._open,
            "tell": lambda _: None, "clock": lambda: self.now_s,
        }  # fmt: skip
        pairs = Pairs(**{**wanted, **changes})  # type: ignore[arg-type]
        try:
            return pairs, pairs.measure()
        finally:
            journal.close()

    @contextmanager
    def _open(self, stage: Stage, number: int) -> Iterator["_Arena"]:
        self.opened.append((stage, number))
        yield _Arena(self, stage, number)


@dataclass
class _Arena:
    world: World
    stage: Stage
    number: int

    def compare(self, key: str, *, null: bool) -> Pair:
        world = self.world
        if world.stop_at is not None and len(world.made) >= world.stop_at:
            raise KeyboardInterrupt
        world.now_s += 1
        world.made.append((self.stage, self.number, key, null))
        if key in world.failing:
            failed = {world.failing[key]: "error: broken"}
            return Pair(stage=self.stage, number=self.number, key=key, null=null, failed=failed)
        a_s = 0.001 * CASES[key].batch
        # Pairs scatter, as far to one side as to the other.
        noise = world.noise if self.number % 2 else 1 / world.noise
        b_s = a_s * noise * (1.0 if null else world.factor.get(key, 1.0))
        disturbed = world.disturbed.pop(0) if world.disturbed else False
        return Pair(
            stage=self.stage, number=self.number, key=key, null=null, calls=1,
            samples={"forward": ((a_s,) * 4, (b_s,) * 4)},
            facts={"A": {"contention_ratio": 0.5 if disturbed else 0.0}, "B": {}},
            flags={"A": ("contended",) if disturbed else (), "B": ()},
        )  # fmt: skip

    def facts(self, key: str) -> list[SideFacts]:
        return [SideFacts(key=key, side=side, facts={"flops": 7.0}) for side in ("A", "B")]


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
    assert set(pairs.seen.facts) == {(key, side) for key in CASES for side in "AB"}


def test_a_suspect_gets_sixteen_fresh_pairs_with_the_null_case_and_alone(world: World) -> None:
    world.factor = {DEAR.case_id: 1.10}
    pairs, complete = world.run()
    assert complete
    fresh = [at for at in world.made if at[0] == "fresh"]
    assert {at[2:] for at in fresh} == {(DEAR.case_id, False), (CHEAP.case_id, True)}
    assert len(fresh) == 2 * 16
    (dear,) = values(pairs.seen, [DEAR.case_id], again=pairs.suspects())
    assert (len(dear.first), len(dear.fresh)) == (6, 16)
    assert dear.fresh[0] == pytest.approx(math.log(1.10 / 1.04))
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


def test_an_interrupted_comparison_goes_on_where_it_stopped(world: World) -> None:
    world.factor, world.stop_at = {DEAR.case_id: 1.10}, 11
    with pytest.raises(KeyboardInterrupt):
        world.run()
    world.stop_at = None
    _, complete = world.run()
    assert complete
    assert len(world.made) == len(set(world.made)) == 6 * 3 + 16 * 2


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
    assert set(pairs.seen.facts) == {(key, side) for key in CASES for side in "AB"}


def test_the_budget_ends_it_between_two_cases(world: World) -> None:
    _, complete = world.run(budget_s=4.0)
    assert not complete
    assert len(world.made) == 5  # the fifth began at 4 s, when the budget was not exceeded
    _, complete = world.run()
    assert complete
    assert len(world.made) == len(set(world.made)) == 18


def test_a_case_that_fails_twice_is_given_up_and_the_others_go_on(world: World) -> None:
    world.failing = {DEAR.case_id: "B"}
    pairs, complete = world.run()
    assert complete
    assert pairs.given_up(DEAR.case_id)
    assert sum(at[2] == DEAR.case_id for at in world.made) == 2
    assert sum(at[2:] == (CHEAP.case_id, False) for at in world.made) == 6


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
    assert (pair.failed, pair.samples) == ({"B": "oom: too big"}, {})


def test_a_side_that_was_not_tried_is_not_to_blame() -> None:
    one = case()
    a = Failure(case=one, replicate=0, status="error", reason=pair_journal.NOT_TRIED)
    b = Failure(case=one, replicate=0, status="error", reason="ValueError: boom")
    assert pair_of("first", 0, one.case_id, a, b).failed == {"B": "error: ValueError: boom"}


def test_a_record_comes_back_as_it_was_and_a_torn_line_does_not_count(tmp_path: Path) -> None:
    pair = pair_of("fresh", 3, "a", _measured(CHEAP, (1.0,)), _measured(CHEAP, (2.0,)), null=True)
    facts = SideFacts(key="a", side="B", facts={"flops": 2.0}, problems={"energy": "none"})
    path = tmp_path / "pairs.jsonl"
    path.write_text(f"{to_line(pair)}\n{to_line(facts)}\n{to_line(pair)[:40]}")
    seen = pair_journal.read(path)
    assert seen == Seen({("fresh", 3, "a", True): pair}, {("a", "B"): facts})


@pytest.mark.parametrize("line", ["nonsense", "[]", "{}", '{"kind":"pair"}', '{"kind":"other"}'])
def test_a_line_that_is_none_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "pairs.jsonl"
    path.write_text(line + "\n")
    with pytest.raises(PairJournalError, match=r"pairs.jsonl, line 1: not a pair"):
        pair_journal.read(path)


def test_a_case_with_a_threshold_of_its_own_is_judged_by_it(world: World) -> None:
    world.noise, world.factor = 1.01, {DEAR.case_id: 1.10}
    pairs, _ = world.run(thresholds={DEAR.case_id: 0.25})
    assert not pairs.suspects()
    assert world.opened == [("first", number) for number in range(4)]
