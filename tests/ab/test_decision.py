"""The result that `bench ab` makes of its pairs, beyond the decision itself."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import pytest
from rich.console import Console

from bench.ab import decision
from bench.ab.ab_directory import DESCRIPTION
from bench.ab.ab_plan import Planned
from bench.ab.decision import _by_stage
from bench.ab.findings import middle_times
from bench.ab.interleave import TOGETHER
from bench.ab.pair_journal import Failed, Pair, PairsSoFar, SideStaticMetrics
from bench.ab.scheduler import Pairs
from bench.ab.variants import Side
from bench.core.records import Status
from bench.plan.config import RunOptions
from bench.verdict import outputs
from bench.verdict.comparison import PairComparison
from bench.verdict.outputs import markdown
from bench.verdict.paired_test import PairedPhase, decide
from bench.verdict.report import Report
from bench.verdict.tables import report_table
from tests.support.cases import case

QUIET = (0.001, -0.001, 0.0, 0.002, -0.002, 0.0)
ONE, TWO = case(batch=1), case(batch=2)
A, B = ONE.case_id, TWO.case_id


def off(by: float) -> tuple[float, ...]:
    return tuple(by + one for one in QUIET)


def test_a_null_case_that_was_off_in_one_stage_is_not_hidden_by_the_other() -> None:
    cases = [PairedPhase(key="a", first=QUIET)]
    for null in (
        PairedPhase(key="n", first=off(0.15), fresh=QUIET),
        PairedPhase(key="n", first=off(0.15), fresh=(0.0,)),
        PairedPhase(key="n", first=QUIET, fresh=off(0.15)),
    ):
        assert decide(cases, _by_stage([null]), 0.05)[0].verdict == "UNTRUSTED"
    quiet = PairedPhase(key="n", first=QUIET, fresh=QUIET)
    assert decide(cases, _by_stage([quiet]), 0.05)[0].verdict == "SAME"


# --- rows and notes --------------------------------------------------------------------------


def pair(key: str, number: int, factor: float = 1.0, **more: Any) -> Pair:
    """A pair whose B takes `factor` times as long, give or take a little."""
    b_s = 0.01 * factor * (1 + 0.001 * (number % 3 - 1))
    wanted = {"stage": "first", "samples": {"forward": ((0.01,) * 4, (b_s,) * 4)}}
    return Pair(key=key, number=number, **{**wanted, **more})


def because(why: str) -> Failed:
    """Return a failure.  why: `status: reason`."""
    status, _, reason = why.partition(": ")
    return Failed(status=cast(Status, status), reason=reason)


def failed(key: str, number: int, *, null: bool = False, **more: str) -> Pair:
    """more: side → why."""
    whys = {side: because(why) for side, why in more.items()}
    return pair(key, number, null=null, samples={}, failed=whys)


def good(key: str, factor: float = 1.0, count: int = 6, **more: Any) -> list[Pair]:
    return [pair(key, number, factor, **more) for number in range(count)]


def nulls(count: int = 6) -> list[Pair]:
    return good(A, count=count, null=True)


def static(key: str, side: str = "B", **more: Any) -> SideStaticMetrics:
    return SideStaticMetrics(key=key, side=side, **{"metrics": {"flops": 7.0}, **more})


def planned(
    keys: Sequence[str] = (A,),
    kind: str = "revision",
    thresholds: Mapping[str, float] | None = None,
) -> Planned:
    cases = {key: {A: ONE, B: TWO}[key] for key in keys}
    return Planned(
        sides=tuple(Side(name=name, asked="main", kind=kind) for name in "AB"),  # type: ignore[arg-type]
        cases={key: {"A": one, "B": one} for key, one in cases.items()},
        missing={}, run=RunOptions(), threshold=0.05, thresholds=thresholds or {},
        machine_id="m", versions={}, proof={}, torch_details={}, sources={},
    )  # fmt: skip


def outcome(
    *records: Pair | SideStaticMetrics, incomplete: str | None = None, **plan: Any
) -> Report[PairComparison]:
    """plan: of `planned`.  Where no static metrics are given, each side has its own."""
    made = planned(**plan)
    both = of_records(*records, *(static(key, side) for key in made.cases for side in "AB"))
    both.cases = {key: one["A"] for key, one in made.cases.items()}
    both.thresholds = made.thresholds
    return decision.decided(made, both, (), Path("out"), incomplete=incomplete)


def of_records(*records: Pair | SideStaticMetrics) -> Pairs:
    """Return pairs with these records that cannot measure more."""
    seen = PairsSoFar()
    for one in records:
        seen.add(one)
    nothing: Any = None
    return Pairs(
        cases={}, seed=0, threshold=0.05, budget_s=None, journal=nothing, seen=seen,
        open_workers=nothing, tell=nothing,
    )  # fmt: skip


def said(report: Report[PairComparison]) -> list[tuple[str | None, str, str]]:
    return [(one.phase, one.verdict, one.note) for one in report.findings if one.figure != "flops"]


def codes(report: Report[PairComparison]) -> tuple[int, int]:
    return report.exit_code(strict=False), report.exit_code(strict=True)


def test_two_sides_that_ran_and_are_the_same_pass() -> None:
    found = outcome(*good(A), *nulls(), static(A, "A"), static(A))
    assert said(found) == [("forward", "SAME", "")]
    assert (found.notes, codes(found)) == ((), (0, 0))


def test_calls_back_to_back_are_a_figure_of_their_own_and_decided_as_the_others() -> None:
    def both(number: int) -> Pair:
        single, in_a_row = (pair(A, number, by).samples["forward"] for by in (1.0, 1.3))
        return pair(A, number, samples={"forward": single, "forward, back-to-back": in_a_row})

    found = outcome(*map(both, range(6)), *nulls())
    times = [one for one in found.findings if one.figure in ("time_s", "pipelined_s")]
    assert [(one.phase, one.figure, one.verdict) for one in times] == [
        ("forward", "time_s", "SAME"),
        ("forward", "pipelined_s", "REGRESSED"),
    ]
    assert "forward back-to-back" in markdown(found)
    assert codes(found) == (1, 1)


SEGFAULT = "crash: ended by SIGSEGV"


def test_a_crash_that_did_not_come_again_leaves_a_case_undecided_at_most() -> None:
    lost = failed(A, 2, B=SEGFAULT)
    kept = [one for one in good(A, count=7) if one.number != 2]
    found = outcome(*kept, lost, *nulls())
    assert said(found) == [
        ("forward", "INCONCLUSIVE", "side B failed in 1 of 7 pairs: crash: ended by SIGSEGV")
    ]
    assert codes(found) == (0, 3)
    assert found.headline == "no regression found (0 same, 1 undecided)"
    faster = outcome(lost, *(pair(A, n, 0.5) for n in (0, 1, 3, 4, 5, 8)), *nulls())
    assert faster.findings[0].verdict == "INCONCLUSIVE"
    slower = outcome(lost, *(pair(A, n, 1.5) for n in (0, 1, 3, 4, 5, 8)), *nulls())
    assert (slower.findings[0].verdict, codes(slower)) == ("REGRESSED", (1, 1))
    assert "failed in 1 of 7 pairs" in slower.findings[0].note


def test_a_crash_that_came_again_is_a_failure() -> None:
    found = outcome(*good(A, count=4), failed(A, 4, B=SEGFAULT), failed(A, 10, B="timeout: x"))
    assert said(found) == [
        (None, "FAILED", "side B failed in 2 of 6 pairs: crash: ended by SIGSEGV")
    ]
    assert codes(found) == (4, 4)


def test_sides_that_failed_in_different_pairs_are_both_named() -> None:
    found = outcome(*good(A, count=4), failed(A, 4, B="error: b"), failed(A, 10, A="error: a"))
    assert found.findings[0].note == (
        "side A failed in 1 of 6 pairs: error: a; side B failed in 1 of 6 pairs: error: b"
    )


def test_what_is_broken_on_both_sides_is_said_of_both() -> None:
    why = "error: ValueError: boom"
    same = outcome(*(failed(A, n, A=why, B=why) for n in (0, 1)))
    assert said(same) == [(None, "FAILED", "both sides: error: ValueError: boom")]
    other = outcome(*(failed(A, n, A=why, B=SEGFAULT) for n in (0, 1)))
    assert other.findings[0].note == f"side A: {why}; side B: {SEGFAULT}"
    one = outcome(*(failed(A, n, B=why) for n in (0, 1)))
    assert one.findings[0].note == f"side B: {why}"


NO_COMPILER = "unsupported: no C++ compiler"


@pytest.mark.parametrize("kind", ["revision", "settings"])
@pytest.mark.parametrize("why", [NO_COMPILER, "oom: too big"])
def test_what_neither_side_can_run_here_fails_no_other_case(why: str, kind: str) -> None:
    broken = [failed(A, n, A=why, B=why) for n in (0, 1)]
    found = outcome(*broken, *good(B), *good(B, null=True), keys=(A, B), kind=kind)
    assert said(found)[0] == (None, "UNMEASURED", f"both sides: {why}")
    assert codes(found) == (0, 0)
    assert found.headline == "no regression found (1 same, 0 undecided, 1 unmeasured)"
    assert codes(outcome(*broken)) == (4, 4)  # nothing was measured


@pytest.mark.parametrize(
    ("kind", "side", "verdict"),
    [
        ("revision", "B", "FAILED"),
        ("revision", "A", "UNMEASURED"),
        ("settings", "B", "UNMEASURED"),
    ],
)
def test_a_revision_that_can_no_longer_run_a_case_fails(kind: str, side: str, verdict: str) -> None:
    lost = failed(A, 0, **dict[str, Any]({side: NO_COMPILER}))
    found = outcome(lost, *good(B), *good(B, null=True), keys=(A, B), kind=kind)
    assert said(found)[0] == (None, verdict, f"side {side}: {NO_COMPILER}")


def test_sides_that_do_not_fit_at_once_are_unmeasured_whichever_was_second() -> None:
    reason = f"{TOGETHER} (CUDA out of memory)"
    why = Failed(status="oom", reason=reason, cause="together")
    for sides in ("AA", "AB", "BA", "BB"):
        lost = [
            pair(A, number, samples={}, failed={side: why}) for number, side in enumerate(sides)
        ]
        found = outcome(*lost, *good(B), *good(B, null=True), keys=(A, B))
        assert found.findings[0].verdict == "UNMEASURED"
        assert TOGETHER in found.findings[0].note
        assert codes(found) == (0, 0)
    alone = [failed(A, number, B="oom: CUDA out of memory") for number in (0, 1)]
    found = outcome(*alone, *good(B), *good(B, null=True), keys=(A, B))
    assert (found.findings[0].verdict, codes(found)) == ("FAILED", (4, 4))


def test_a_result_that_is_wrong_is_a_failure_of_its_side_however_fast() -> None:
    for kind in ("revision", "settings"):
        wrong = static(A, invalid="relative error 0.3")
        found = outcome(*good(A, 0.5), *nulls(), static(A, "A"), wrong, kind=kind)
        assert said(found) == [(None, "FAILED", "side B: invalid: relative error 0.3")]
        assert codes(found) == (4, 4)
    both = outcome(*good(A), *nulls(), static(A, "A", invalid="off"), static(A, invalid="off"))
    assert said(both) == [(None, "FAILED", "both sides: invalid: off")]


def test_a_phase_that_side_b_lost_is_a_failure_and_one_that_it_gained_is_new() -> None:
    lost = good(A, only={"A": ("optimizer",), "B": ("extra",)})
    found = outcome(*lost, *nulls())
    assert said(found) == [
        ("forward", "SAME", ""),
        ("optimizer", "FAILED", "side B has no such phase"),
        ("extra", "NEW", "side A has no such phase"),
    ]
    assert codes(found) == (4, 4)
    gained = outcome(*good(A, only={"B": ("extra",)}), *nulls())
    assert codes(gained) == (0, 0)
    settings = outcome(*lost, *nulls(), kind="settings")
    assert [verdict for _, verdict, _ in said(settings)] == ["SAME", "DIFFERS", "NEW"]


def test_what_the_budget_did_not_reach_is_undecided_and_fails_nothing() -> None:
    found = outcome(*good(A), *nulls(), keys=(A, B), incomplete="the budget was used up")
    assert said(found)[1] == (None, "INCONCLUSIVE", "not measured: the budget was used up")
    assert codes(found) == (0, 3)
    assert found.headline == "no regression found (1 same, 1 undecided)"
    assert found.notes[-2:] == (
        "The comparison is not complete: the budget was used up",
        "1 undecided time did not get all planned pairs; to resume: bench ab --resume out",
    )
    nothing = outcome(incomplete="the budget was used up")
    assert codes(nothing) == (4, 4)


def test_a_slowdown_is_seen_though_the_budget_ended_in_the_second_stage() -> None:
    first = [*good(A, 1.5), *nulls(), *good(B, 1.5)]
    for fresh in (0, 1, 7, 8):
        again = [pair(A, n, 1.5, stage="fresh") for n in range(fresh)]
        found = outcome(*first, *again, keys=(A, B), incomplete="the budget was used up")
        assert [verdict for _, verdict, _ in said(found)] == ["REGRESSED"] * 2
        assert found.findings[0].evidence.pairs == (8 if fresh == 8 else 6)


def test_the_times_shown_are_those_that_decide() -> None:
    for fresh, shown_s in ((7, 0.015), (8, 0.012)):
        again = [pair(A, n, 1.2, stage="fresh") for n in range(fresh)]
        found = outcome(*good(A, 1.5), *again, *nulls())
        assert found.findings[0].value == pytest.approx(shown_s, rel=0.01)


def test_the_times_shown_are_as_far_apart_as_their_ratio_in_noisy_pairs_too() -> None:
    """Their medians are 10 and 11 ms, and five of six pairs are faster in B."""
    of_pairs = ((10, 9), (10, 9), (10, 9), (12, 11), (9, 30), (13, 12))
    times = [((a / 1e3,) * 4, (b / 1e3,) * 4) for a, b in of_pairs]
    found = outcome(*(pair(A, n, samples={"forward": both}) for n, both in enumerate(times)))
    one = next(one for one in found.findings if one.figure == "time_s")
    assert one.base is not None
    assert one.value is not None
    assert one.value / one.base == pytest.approx(one.ratio)
    assert math.sqrt(one.base * one.value) == pytest.approx(
        math.sqrt(0.0009 * 0.0011 * 100), rel=0.1
    )


def test_an_interval_that_says_nothing_is_told_in_words_in_table_and_report() -> None:
    factors = (0.1, 9.0, 1.1, 0.2, 6.0, 1.0)
    noisy = [pair(A, number, factor) for number, factor in enumerate(factors)]
    for found, is_told in ((outcome(*noisy), True), (outcome(*good(A)), False)):
        shown = " ".join(line.plain for line in report_table(found).lines(100))
        assert (" (too wide) " in shown) == is_told
        assert ("so wide that it says nothing" in " ".join(shown.split())) == is_told
        assert ("Too wide: the 95 % interval is so wide" in markdown(found)) == is_told


def test_the_times_of_a_quiet_case_are_those_of_its_pairs() -> None:
    quiet = [((0.010, 0.011, 0.012), (0.020, 0.022, 0.024))] * 6
    assert middle_times(quiet, 2.0) == pytest.approx((0.011, 0.022))
    assert middle_times(quiet, None) == pytest.approx((0.011, 0.022))


def test_pairs_against_itself_that_failed_are_said() -> None:
    lost = pair(A, 5, null=True, samples={}, failed={"B": because(SEGFAULT)})
    found = outcome(*good(A), *nulls(5), lost)
    (note,) = found.notes
    assert note.startswith(f"The null case (A against A) failed in 1 of 6 pairs: {SEGFAULT}. ")
    none = outcome(*good(A), *(failed(A, n, A=SEGFAULT, null=True) for n in (0, 1)))
    assert none.notes[1] == (
        "The null case (A against A) was not measured: false alarms cannot be noticed."
    )


def test_pairs_that_were_disturbed_or_had_not_settled_are_counted() -> None:
    flagged = [
        pair(A, 0, flags={"A": ("contended",), "B": ("contended", "unsteady")}),
        pair(A, 1, flags={"A": (), "B": ("contended",)}),
        pair(A, 2, flags={"A": (), "B": ("unsteady", "growing")}),
    ]
    found = outcome(*flagged, *good(A), *nulls())
    assert found.notes == (
        "2 of 12 pairs were disturbed by other work on this machine (contended).",
        "The times still moved in 1 of 12 pairs (unsteady).",
        "Each call did more work or left more behind in 1 of 12 pairs (growing).",
    )


def test_thresholds_of_their_own_are_said_and_are_in_the_report() -> None:
    found = outcome(*good(A), *good(B), *nulls(), keys=(A, B), thresholds={B: 0.1})
    assert found.notes == ("1 of 2 cases has its own threshold: 10.0 %.",)
    assert found.comparison.thresholds == {B: 0.1}


def test_cases_that_could_not_be_verified_are_counted() -> None:
    doubt = static(A, problems={"relative_error": "it draws random numbers"})
    found = outcome(*good(A), *nulls(), static(A, "A"), doubt)
    assert found.notes == (
        (
            "The results of side B could not be verified in 1 of 1 case: "
            f"{A}: it draws random numbers"
        ),
    )


def test_a_step_summary_that_cannot_be_written_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "nowhere/summary.md"))
    outputs.tell(tmp_path, outcome(*good(A), *nulls()), Console())
    assert "summary.md: the step summary cannot be written: No such file" in capsys.readouterr().out


def test_the_exit_code_is_kept_beside_the_first_line(tmp_path: Path) -> None:
    (tmp_path / DESCRIPTION).write_text("{}")
    decision.write(tmp_path, outcome(), of_records(), 2)
    stored = json.loads((tmp_path / DESCRIPTION).read_text())
    assert stored["exit_code"] == 2
    assert stored["headline"].startswith("NOTHING MEASURED")
