"""The search finds the best right setting, and says why others were refused."""

import dataclasses
import math
import random
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field

import pytest

from bench.core.records import Case, Failure, Measurement, Outcome, Samples
from bench.engine.policy import Deadline
from bench.tune.confirm import Confirmation
from bench.tune.search import Search
from bench.tune.space import Space
from bench.tune.static import Static
from tests.support.cases import case

PLAIN = case(subject="net", batch=8)
LAST = dataclasses.replace(PLAIN, memory_format="channels_last")
AMP = dataclasses.replace(PLAIN, amp="bfloat16")
BOTH = dataclasses.replace(LAST, amp="bfloat16")
ONE_THREAD = dataclasses.replace(PLAIN, threads="1")
EAGER = (PLAIN, LAST, AMP, BOTH, ONE_THREAD)


def compiled(of: Case) -> Case:
    return dataclasses.replace(of, compile="default")


@dataclass
class FakeLab:
    """Knows the true time of each setting; times scatter by `noise` and drift by round.

    Advances the clock by `cost_s` a case and `check_s` a check.
    """

    true_s: Callable[[Case], float]
    noise: float = 0.02
    failing: Mapping[str, Failure] = field(default_factory=dict)
    cost_s: Callable[[Case], float] = lambda _: 1.0  # of a measurement, in seconds
    check_s: float = 1.0
    static_of: Callable[[Case], Static] = lambda _: Static({"relative_error": 1e-6})
    seed: int = 0
    now_s: float = 0.0
    rounds: list[list[str]] = field(default_factory=list)
    checked: list[str] = field(default_factory=list)

    def round(
        self, number: int, cases: Sequence[Case], until: Deadline
    ) -> Generator[Outcome, None, None]:
        rng = random.Random(f"{self.seed}:{number}")
        drift = math.exp(rng.gauss(0, 0.1))
        self.rounds.append([one.case_id for one in cases])
        for one in cases:
            if until.spent and one != cases[0]:
                continue
            self.now_s += self.cost_s(one)
            if one.case_id in self.failing:
                yield self.failing[one.case_id]
                continue
            time_s = self.true_s(one) * drift * math.exp(rng.gauss(0, self.noise))
            phase = "forward" if one.mode == "inference" else "step"
            yield Measurement(
                case=one,
                replicate=number,
                samples=tuple(
                    Samples(phase=phase, kind=kind, calls_per_sample=1, times_s=(time_s,) * 3)
                    for kind in ("latency", "pipelined")
                ),
            )

    def statics(self, cases: Sequence[Case]) -> Generator[Static, None, None]:
        for one in cases:
            self.now_s += self.check_s
            self.checked.append(one.case_id)
            yield self.static_of(one)


def search(
    lab: FakeLab, objective: str = "latency", *, cudnn: bool = False, **more: object
) -> Search:
    def space_at(batch: int) -> Space:
        eager = tuple(dataclasses.replace(one, batch=batch) for one in EAGER)
        return Space(eager[0], eager, ("default",), cudnn)

    given: dict[str, object] = {"budget_s": None, **more}
    return Search(
        space_at=space_at,
        batch=8,
        objective=objective,  # type: ignore[arg-type]
        lab=lab,
        tell=lambda _: None,
        clock=lambda: lab.now_s,
        **given,  # type: ignore[arg-type]
    )


def time_s(one: Case) -> float:
    found = 10e-3
    found /= 1.3 if one.memory_format == "channels_last" else 1.0
    found /= 1.5 if one.amp == "bfloat16" else 1.0
    found *= 1.8 if one.threads == "1" else 1.0
    found /= 1.2 if one.compile == "default" else 1.0
    return found


def test_the_fastest_combination_wins() -> None:
    lab = FakeLab(time_s)
    found = search(lab)
    found.run()
    winner, second = found.winner()
    assert winner == compiled(BOTH)
    assert second == BOTH
    assert found.complete


def test_a_setting_far_behind_is_measured_in_one_round_alone() -> None:
    lab = FakeLab(time_s)
    search(lab).run()
    assert sum(ONE_THREAD.case_id in one for one in lab.rounds) == 1


def test_the_plain_setting_is_measured_in_every_round() -> None:
    lab = FakeLab(time_s)
    search(lab).run()
    assert all(PLAIN.case_id in one for one in lab.rounds)


def test_a_wrong_result_never_wins_and_the_next_best_is_checked() -> None:
    def static_of(one: Case) -> Static:
        wrong = "the output differs" if one.amp == "bfloat16" else None
        return Static({"relative_error": 1e-6}, wrong)

    lab = FakeLab(time_s, static_of=static_of)
    found = search(lab)
    found.run()
    winner, _ = found.winner()
    assert winner == compiled(LAST)
    assert found.refused[BOTH.case_id].reason == "wrong: the output differs"


def test_max_error_and_max_memory_refuse_with_the_figure() -> None:
    def static_of(one: Case) -> Static:
        error = 4e-3 if one.amp == "bfloat16" else 1e-6
        peak = 3e6 if one.compile == "default" else 1e6
        return Static({"relative_error": error, "peak_bytes": peak})

    found = search(FakeLab(time_s, static_of=static_of), max_error=1e-3, max_memory=2e6)
    found.run()
    winner, _ = found.winner()
    assert winner == LAST
    assert "4.0e-03 is above 1.0e-03" in found.refused[BOTH.case_id].reason
    assert "3000000 B" in found.refused[compiled(LAST).case_id].reason


def test_an_unknown_error_is_refused_only_where_a_bound_was_asked_for() -> None:
    unknown = Static({}, doubt="it draws random numbers")
    free = search(FakeLab(time_s, static_of=lambda _: unknown))
    free.run()
    assert free.winner()[0] == compiled(BOTH)
    bound = search(FakeLab(time_s, static_of=lambda _: unknown), max_error=1e-3)
    bound.run()
    assert "unknown (it draws random numbers)" in bound.refused[BOTH.case_id].reason


def test_a_setting_that_cannot_be_checked_does_not_win_where_plain_could() -> None:
    unknown = Static({}, doubt="the float64 reference would take over 5 s")

    def static_of(one: Case) -> Static:
        return unknown if one.memory_format == "channels_last" else Static({"relative_error": 0.0})

    found = search(FakeLab(time_s, static_of=static_of))
    found.run()
    winner, _ = found.winner()
    assert winner.memory_format == "contiguous"
    whys = [one.reason for key, one in found.refused.items() if "channels_last" in key]
    assert whys
    assert all("could not be checked, and that of plain could" in why for why in whys)


def test_a_setting_that_fails_is_refused_with_its_status() -> None:
    failure = Failure(case=BOTH, replicate=0, status="unsupported", reason="no bfloat16 here")
    found = search(FakeLab(time_s, failing={BOTH.case_id: failure}))
    found.run()
    assert found.refused[BOTH.case_id].reason == "unsupported: no bfloat16 here"
    assert found.winner()[0] == compiled(AMP)


def test_the_compiler_is_tried_on_the_best_setting_and_on_the_next_where_it_fails() -> None:
    lab = FakeLab(time_s)
    search(lab).run()
    tried = {key for keys in lab.rounds for key in keys if "compile=default" in key}
    assert tried == {compiled(BOTH).case_id}
    failure = Failure(case=compiled(BOTH), replicate=0, status="error", reason="no such operator")
    found = search(FakeLab(time_s, failing={compiled(BOTH).case_id: failure}))
    found.run()
    assert found.refused[compiled(BOTH).case_id].reason == "error: no such operator"
    assert found.winner()[0] == BOTH
    tried = {key for key in found.costs if "compile=default" in key}
    assert tried == {compiled(AMP).case_id}


@pytest.mark.parametrize(
    ("values", "named"),
    [([-0.2, 0.2, -0.1, 0.1], BOTH), ([-0.1] * 4, compiled(BOTH)), ([0.1] * 4, BOTH)],
)
def test_of_two_that_fresh_pairs_cannot_tell_apart_the_simpler_is_the_answer(
    values: list[float], named: Case
) -> None:
    found = search(FakeLab(time_s))
    found.run()
    assert found.winner() == (compiled(BOTH), BOTH)
    # log(time of the compiled one / time of the other)
    pairs = Confirmation({"second": (BOTH, compiled(BOTH))}, {"second": values})
    winner, second, _ = found.answer(pairs)
    assert winner == named
    assert {winner, second} == {BOTH, compiled(BOTH)}


def test_of_equal_settings_the_simplest_is_named() -> None:
    found = search(FakeLab(lambda one: 10e-3 / (1.5 if one.amp == "bfloat16" else 1.0)))
    found.run()
    assert found.winner()[0] == AMP  # as fast as with channels_last or compiled


def test_where_nothing_helps_plain_is_the_answer() -> None:
    found = search(FakeLab(lambda _: 10e-3))
    found.run()
    assert found.winner()[0] == PLAIN


def test_throughput_of_a_network_with_one_batch_alone_has_no_larger_one() -> None:
    lab, told = FakeLab(time_s), list[str]()
    found = search(lab, "throughput")
    space = Space(PLAIN, EAGER, ("default",))
    found.space_at, found.tell = lambda _: space, told.append
    found.run()
    assert found.winner()[0].batch == 8
    assert told[0] == "N=8 is used: the inputs of the network have the same sizes for every batch"


def test_throughput_doubles_the_batch_until_memory_ends() -> None:
    def per_call_s(one: Case) -> float:
        return (1e-3 + 1e-3 * one.batch) * time_s(one)

    big = dataclasses.replace(PLAIN, batch=64)
    failure = Failure(case=big, replicate=0, status="oom", reason="out of memory")
    found = search(FakeLab(per_call_s, failing={big.case_id: failure}), "throughput")
    found.run()
    winner, _ = found.winner()
    assert winner.batch == 32
    assert winner.amp == "bfloat16"


def test_memory_is_counted_and_not_raced() -> None:
    def static_of(one: Case) -> Static:
        return Static({"peak_bytes": 5e5 if one.amp == "bfloat16" else 1e6})

    lab = FakeLab(time_s, static_of=static_of)
    found = search(lab, "memory")
    found.run()
    assert found.winner()[0].amp == "bfloat16"
    assert len(lab.rounds) == 2  # one without, one with the compiler


def test_the_budget_ends_the_race_and_leaves_an_answer() -> None:
    lab = FakeLab(time_s)
    found = search(lab, budget_s=12.0)
    found.run()
    assert not found.complete
    assert found.winner()[0].amp == "bfloat16"
    assert lab.now_s < 20


def test_without_any_right_setting_there_is_no_winner() -> None:
    found = search(FakeLab(time_s, static_of=lambda _: Static({}, "wrong everywhere")))
    found.run()
    with pytest.raises(ValueError, match="right result"):
        found.winner()


def test_the_choice_is_within_three_percent_of_the_best_in_nearly_all_trials() -> None:
    good = 0
    best_s = time_s(compiled(BOTH))
    for seed in range(60):
        lab = FakeLab(time_s, noise=0.04, seed=seed)
        found = search(lab)
        found.run()
        good += time_s(found.winner()[0]) <= 1.03 * best_s
    assert good >= 57


def test_memory_is_counted_of_slow_settings_too() -> None:
    def slow_amp_s(one: Case) -> float:
        return 10e-3 * (3.0 if one.amp == "bfloat16" else 1.0)

    def static_of(one: Case) -> Static:
        return Static({"peak_bytes": 5e5 if one.amp == "bfloat16" else 1e6})

    found = search(FakeLab(slow_amp_s, static_of=static_of), "memory")
    found.run()
    assert found.winner()[0].amp == "bfloat16"


def test_plain_does_not_win_where_it_breaks_a_bound_and_stays_the_baseline() -> None:
    lab = FakeLab(time_s, static_of=lambda _: Static({"peak_bytes": 3e6, "relative_error": 1e-6}))
    found = search(lab, max_memory=2e6)
    found.run()
    assert not found.can_answer()
    assert found.plain_refused is not None
    assert "more than 2000000 B" in found.plain_refused.reason


def test_a_budget_that_ends_before_any_check_leaves_no_answer_with_a_counted_objective() -> None:
    found = search(FakeLab(time_s), "memory", budget_s=2.0)
    found.run()
    assert not found.can_answer()


def test_faster_settings_that_were_not_checked_are_counted() -> None:
    found = search(FakeLab(time_s, check_s=20.0), budget_s=10.0)
    found.run()
    assert found.winner()[0] == PLAIN
    assert found.unchecked() >= 2


def test_the_time_of_a_setting_is_its_ratio_to_plain_in_the_rounds_that_both_have() -> None:
    found = search(FakeLab(time_s))
    found.run()
    for one in found.costs:
        case_ = found.cases[one]
        assert found.time_s(case_) / found.time_s(PLAIN) == pytest.approx(
            time_s(case_) / time_s(PLAIN), rel=0.08
        )


def searched(of: Case) -> Case:
    return dataclasses.replace(of, cudnn_benchmark="on")


def test_cudnns_search_is_tried_on_the_best_settings_alone() -> None:
    def found_s(one: Case) -> float:
        return time_s(one) / (1.3 if one.cudnn_benchmark == "on" else 1.0)

    lab = FakeLab(found_s)
    found = search(lab, cudnn=True)
    found.run()
    assert found.winner()[0] == compiled(searched(BOTH))
    tried = {key for keys in lab.rounds for key in keys if "cudnn=on" in key}
    assert tried == {one.case_id for one in map(searched, (BOTH, AMP))} | {
        compiled(searched(BOTH)).case_id
    }


def test_the_compiler_is_tried_without_cudnns_search_where_that_gains_nothing() -> None:
    lab = FakeLab(time_s, noise=0.001)
    found = search(lab, cudnn=True)
    found.run()
    assert found.winner()[0] == compiled(BOTH)
    assert not any("compile=default" in key and "cudnn=on" in key for key in found.costs)


def test_a_first_round_that_takes_too_long_leaves_time_for_the_checks() -> None:
    lab, told = FakeLab(time_s, cost_s=lambda _: 10.0), list[str]()
    found = search(lab, budget_s=50.0)
    found.tell = told.append
    found.run()
    assert PLAIN.case_id in found.costs
    assert 3 <= len(found.costs) < len(EAGER)
    assert set(lab.checked) >= {PLAIN.case_id, found.winner()[0].case_id}
    assert lab.now_s <= 60.0
    assert "2 settings had to wait: the time of the round ended" in told
    assert not found.complete
    assert {one.case_id for one in found.missing()} >= {one.case_id for one in EAGER[3:]}


def test_what_a_first_round_left_out_is_measured_if_there_is_time() -> None:
    lab = FakeLab(lambda one: 1e-3 if one == PLAIN else 1e-2, cost_s=lambda _: 10.0)
    found = search(lab, budget_s=70.0)
    found.space_at = lambda _: Space(PLAIN, EAGER, ())
    found.run()
    assert lab.rounds[0] == [one.case_id for one in EAGER]
    assert lab.rounds[1] == [PLAIN.case_id, ONE_THREAD.case_id]
    assert not found.missing()


def test_a_leader_that_was_measured_once_is_measured_again() -> None:
    """A round without the compiler and one of cuDNN's search come before that of the compiler."""
    lab = FakeLab(lambda one: time_s(one) / (4.0 if one.compile != "off" else 1.0))
    found = search(lab, cudnn=True)
    found.run()
    assert found.complete
    assert len(found.costs[found.winner()[0].case_id]) >= 2


def test_a_long_search_for_the_batch_leaves_time_for_the_first_round() -> None:
    """Its share is one of what is left."""
    lab = FakeLab(lambda one: one.batch * time_s(one), cost_s=lambda _: 10.0)  # none is faster
    found = search(lab, "throughput", budget_s=100.0)
    found.run()
    assert found.winner()[0].batch == 8
    assert lab.now_s >= 60.0  # two batches beside the first one, four measurements; then the round
    assert len(found.costs) >= 3


def test_a_round_that_the_budget_ends_does_not_count() -> None:
    whole = FakeLab(time_s)
    search(whole).run()
    before_s = sum(map(len, whole.rounds[:3])) + len(whole.checked)
    lab, told = FakeLab(time_s), list[str]()
    found = search(lab, budget_s=before_s + 0.5)
    found.tell = told.append
    found._fits = lambda _: True  # type: ignore[method-assign, assignment]
    found.run()
    assert told[-1] == "the budget ended in round 4, which does not count"
    assert (found.rounds, found.complete) == (3, False)
    assert max(number for costs in found.costs.values() for number in costs) == 2


class Interrupted(FakeLab):
    """Ctrl-C comes before the given measurement."""

    before: int = 0

    def round(
        self, number: int, cases: Sequence[Case], until: Deadline
    ) -> Generator[Outcome, None, None]:
        for outcome in super().round(number, cases, until):
            if not self.before:
                raise KeyboardInterrupt
            self.before -= 1
            yield outcome


def test_an_interrupt_in_the_first_round_keeps_what_was_measured() -> None:
    lab, told = Interrupted(time_s), list[str]()
    lab.before = 3
    found = search(lab)
    found.tell = told.append
    with pytest.raises(KeyboardInterrupt):
        found.run()
    assert found.costs.keys() == {one.case_id for one in EAGER[:3]}
    assert found.can_answer()
    assert told[0].startswith("  1 of 5: plain: ")
    assert told[1].startswith("  2 of 5: channels_last: ")


def test_an_interrupt_in_the_middle_of_a_race_leaves_the_rounds_before_it() -> None:
    whole = FakeLab(time_s)
    search(whole).run()
    lab = Interrupted(time_s)
    lab.before = sum(map(len, whole.rounds[:3])) + 1
    found = search(lab)
    with pytest.raises(KeyboardInterrupt):
        found.run()
    assert max(number for costs in found.costs.values() for number in costs) == 2
    assert found.winner()[0] == compiled(BOTH)
