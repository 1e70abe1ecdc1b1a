"""A run against a stored baseline: verdicts, exit codes, and the page that tells of them."""

import random
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from bench.commands.check import check
from bench.core.records import Case, Entry, Failure, Measurement, StaticMetrics
from bench.results.history import beside
from bench.results.loading import load
from bench.results.results import Results
from bench.verdict import two_runs
from bench.verdict.comparison import RunComparison
from bench.verdict.lines import percent_more
from bench.verdict.outputs import markdown
from bench.verdict.report import Finding, Report, Verdict, of_cases, worst
from bench.verdict.tables import report_table
from bench.verdict.two_runs import CheckError
from tests.support.cases import case
from tests.support.results import RUN, measurement, replicates, run_of

QUIET = [0.01000, 0.01001, 0.01002, 0.01001, 0.01000]
OTHER = case(batch=32)


def slower(by: float, times_s: Sequence[float] = QUIET) -> list[float]:
    return [time_s * by for time_s in times_s]


Checked = Report[RunComparison]


def verdicts(report: Checked) -> list[Verdict]:
    """The verdict of each case."""
    return [worst(own).verdict for own in of_cases(report.findings).values()]


def judged(report: Checked, of: Case) -> Finding:
    """The worst finding about a case."""
    return worst(one for one in report.findings if one.case_id == of.case_id)


def codes(report: Checked) -> tuple[int, int]:
    """The exit code, and the one with --strict."""
    return report.exit_code(strict=False), report.exit_code(strict=True)


def command(report: Checked, of: Case) -> str:
    return report.comparison.commands.get(of.case_id, "")


@pytest.fixture
def baseline(tmp_path: Path) -> Results:
    return run_of(tmp_path / "base", [*replicates(case(), QUIET), *replicates(OTHER, QUIET)])


def now(tmp_path: Path, entries: Sequence[Entry], **run: Any) -> Results:
    return run_of(tmp_path / "now", entries, **run)


def quiet(tmp_path: Path, *cases: Case) -> list[Results]:
    """Five earlier runs that differ by a thousandth."""
    return [
        run_of(
            tmp_path / f"quiet-{number}",
            [entry for one in cases for entry in replicates(one, slower(factor))],
        )
        for number, factor in enumerate([0.999, 1.001, 1.000, 1.0005, 0.9995])
    ]


def test_the_same_times_are_the_same(tmp_path: Path, baseline: Results) -> None:
    run = now(tmp_path, [*replicates(case(), slower(1.001)), *replicates(OTHER, QUIET)])
    report = two_runs.check(run, baseline, history=quiet(tmp_path, case(), OTHER))
    assert verdicts(report) == ["SAME", "SAME"]
    assert report.headline == "no regression found (2 same, 0 undecided)"
    assert codes(report) == (0, 0)


def test_without_earlier_runs_no_time_is_the_same_within_five_per_cent(
    tmp_path: Path, baseline: Results
) -> None:
    """Runs of one code differ by 4.6 % (SD), however well the replicates of each agree."""
    report = two_runs.check(
        now(tmp_path, [*replicates(case(), QUIET), *replicates(OTHER, QUIET)]), baseline
    )
    assert verdicts(report) == ["INCONCLUSIVE", "INCONCLUSIVE"]
    notes = [one.note for one in report.findings]
    assert "4.6 % between runs (default)" in notes[0]
    assert report.notes[-1].startswith("The baseline folder has fewer than 5 earlier runs")
    wide = two_runs.check(
        run_of(tmp_path / "wide", replicates(case(), QUIET)), baseline, threshold=0.4
    )
    assert judged(wide, case()).verdict == "SAME"


def test_no_time_is_the_same_that_may_be_slower_by_the_threshold(tmp_path: Path) -> None:
    """The interval of such a run reaches to 1.096: within the threshold it is not."""
    base = run_of(tmp_path / "base", replicates(case(), QUIET))
    past = history(tmp_path, [1.00, 1.02, 0.98, 1.015, 0.985])
    report = two_runs.check(now(tmp_path, replicates(case(), slower(1.049))), base, history=past)
    assert verdicts(report) == ["INCONCLUSIVE"]


def test_a_slowdown_that_chance_makes_once_in_fifty_runs_is_a_suspect(tmp_path: Path) -> None:
    base = run_of(tmp_path / "base", replicates(case(), QUIET))
    past = history(tmp_path, [0.975, 1.025, 1.012, 0.988, 1.00])
    report = two_runs.check(now(tmp_path, replicates(case(), slower(1.054))), base, history=past)
    assert verdicts(report) == ["SUSPECT"]
    assert report.exit_code(strict=False) == 3


def test_a_slower_case_is_suspect_with_the_command_that_settles_it(
    tmp_path: Path, baseline: Results
) -> None:
    run = now(tmp_path, [*replicates(case(), slower(1.2)), *replicates(OTHER, QUIET)])
    report = two_runs.check(run, baseline)
    assert verdicts(report) == ["SUSPECT", "INCONCLUSIVE"]
    settling = command(report, case())
    assert shlex.split(settling)[:8] == [
        *("bench", "ab", "0123abc4567", "."),
        *("--subject", "convnet", "--mode", "inference"),
    ]
    assert "--memory-format contiguous" in settling
    assert "--tf32" not in settling  # empty on a CPU
    assert codes(report) == (3, 1)


def test_higher_throughput_is_better(tmp_path: Path, baseline: Results) -> None:
    def run(name: str, pipelined_s: float) -> Checked:
        entries = [*replicates(case(), QUIET, pipelined_s=pipelined_s), *replicates(OTHER, QUIET)]
        return two_runs.check(run_of(tmp_path / name, entries), baseline)

    def figure(report: Checked, name: str) -> tuple[str, bool]:
        own = of_cases(report.findings)[case().case_id]
        found = next(one for one in own if one.figure == name)
        return found.verdict, (found.ratio or 0) > 1

    fast, slow = run("fast", 0.005), run("slow", 0.02)
    assert figure(fast, "images_per_s") == ("IMPROVED", False)
    assert figure(slow, "images_per_s") == ("SUSPECT", True)
    assert figure(slow, "latency_median_s")[0] == "INCONCLUSIVE"
    assert fast.exit_code(strict=False) == 0


def test_noise_that_hides_a_slowdown_is_inconclusive_and_says_what_it_could_find(
    tmp_path: Path,
) -> None:
    loud = [0.010, 0.013, 0.009, 0.012, 0.011]
    base = run_of(tmp_path / "base", replicates(case(), loud))
    report = two_runs.check(now(tmp_path, replicates(case(), slower(1.1, loud))), base)
    assert verdicts(report) == ["INCONCLUSIVE"]
    assert "smallest slowdown found 4 times in 5: " in report.findings[0].note
    assert codes(report) == (0, 3)


def test_one_replicate_cannot_be_judged(tmp_path: Path) -> None:
    base = run_of(tmp_path / "base", replicates(case(), QUIET))
    report = two_runs.check(now(tmp_path, replicates(case(), [0.02])), base)
    assert verdicts(report) == ["INCONCLUSIVE"]


def test_unequal_replicate_counts_are_judged(tmp_path: Path) -> None:
    base = run_of(tmp_path / "base", replicates(case(), QUIET))
    report = two_runs.check(now(tmp_path, replicates(case(), slower(1.2)[:3])), base)
    assert verdicts(report) == ["SUSPECT"]


def test_zero_variance_is_judged(tmp_path: Path) -> None:
    base = run_of(tmp_path / "base", replicates(case(), [0.01] * 5))
    same = now(tmp_path, replicates(case(), [0.01] * 5))
    slow = run_of(tmp_path / "slow", replicates(case(), [0.012] * 5))
    assert verdicts(two_runs.check(slow, base)) == ["SUSPECT"]
    past = [run_of(tmp_path / f"h{n}", replicates(case(), [0.01] * 5)) for n in range(5)]
    assert verdicts(two_runs.check(same, base, history=past)) == ["SAME"]
    assert verdicts(two_runs.check(slow, base, history=past)) == ["REGRESSED"]


def test_chance_over_sixty_cases_is_corrected_for(tmp_path: Path) -> None:
    """Noise of 6 % in both runs, no case slower: uncorrected, one in twenty would be found."""
    draw = random.Random(3)
    cases = [case(batch=number) for number in range(1, 61)]

    def entries() -> list[Entry]:
        return [
            entry
            for one in cases
            for entry in replicates(one, [0.01 * draw.lognormvariate(0.02, 0.06) for _ in range(5)])
        ]

    report = two_runs.check(
        now(tmp_path, entries()), run_of(tmp_path / "base", entries()), threshold=0.001
    )
    assert "SUSPECT" not in verdicts(report)


@pytest.mark.parametrize(
    ("figure", "before", "after", "verdict"),
    [
        ("flops", 1000, 1001, "REGRESSED"),
        ("flops", 1000, 999, "IMPROVED"),
        ("graph_breaks", 0, 1, "REGRESSED"),
        ("recompiles", 0, 1, "REGRESSED"),
        ("layout_flips", 2, 3, "REGRESSED"),
        ("operators", 17, 18, "REGRESSED"),
        ("peak_bytes", 100_000, 100_900, "SAME"),
        ("peak_bytes", 100_000, 101_100, "REGRESSED"),
        ("peak_bytes", 100_000, 98_000, "IMPROVED"),
        ("parameters", 1, 2, "SAME"),
    ],
)
@pytest.mark.parametrize("machine", ["m1", "m2"])
def test_counted_figures_are_exact_on_any_machine(
    tmp_path: Path, figure: str, before: int, after: int, verdict: str, machine: str
) -> None:
    def entries(value: int) -> list[Entry]:
        return [*replicates(case(), QUIET), StaticMetrics(case=case(), metrics={figure: value})]

    base = run_of(tmp_path / "base", entries(before))
    report = two_runs.check(now(tmp_path, entries(after), machine={"machine_id": machine}), base)
    found = {one.figure: one.verdict for one in report.findings}
    assert found.get(figure, "SAME") == verdict
    assert report.exit_code(strict=False) == (1 if verdict == "REGRESSED" else 0)


def test_a_counted_figure_that_is_gone_is_not_passed_over(tmp_path: Path) -> None:
    counted = StaticMetrics(case=case(), metrics={"flops": 1000})
    base = run_of(tmp_path / "base", [*replicates(case(), QUIET), counted])
    report = two_runs.check(now(tmp_path, replicates(case(), QUIET)), base)
    assert verdicts(report) == ["INCONCLUSIVE"]


def test_times_of_another_machine_are_advisory_and_the_way_out_is_named(
    tmp_path: Path, baseline: Results
) -> None:
    entries = [*replicates(case(), slower(2.0)), *replicates(OTHER, QUIET)]
    report = two_runs.check(now(tmp_path, entries, machine={"machine_id": "m2"}), baseline)
    assert verdicts(report) == ["ADVISORY", "ADVISORY"]
    assert command(report, case()).startswith("bench ab 0123abc4567 .")
    # Of times that say nothing, one that looks the same is as open as one that looks slower.
    assert "--batch 32" in command(report, OTHER)
    assert report.comparison.told(report)[-2:] == [  # the slower case first
        f"to settle it: {command(report, one)}" for one in (case(), OTHER)
    ]
    assert "another machine" in report.notes[0]
    assert codes(report) == (0, 3)


def test_an_unknown_machine_is_another_one(tmp_path: Path) -> None:
    base = run_of(tmp_path / "base", replicates(case(), QUIET), machine={})
    report = two_runs.check(now(tmp_path, replicates(case(), QUIET), machine={}), base)
    assert verdicts(report) == ["ADVISORY"]


def test_a_case_that_is_missing_is_an_error(tmp_path: Path, baseline: Results) -> None:
    report = two_runs.check(now(tmp_path, replicates(case(), QUIET)), baseline)
    assert judged(report, OTHER).verdict == "MISSING"
    assert report.exit_code(strict=False) == 4


def test_a_renamed_case_does_not_pass_in_silence(tmp_path: Path, baseline: Results) -> None:
    renamed = case(subject="convnet2", batch=32)
    report = two_runs.check(
        now(tmp_path, [*replicates(case(), QUIET), *replicates(renamed, QUIET)]), baseline
    )
    assert judged(report, OTHER).verdict == "MISSING"
    assert judged(report, renamed).verdict == "NEW"
    assert report.exit_code(strict=False) == 4


def test_a_new_case_fails_nothing(tmp_path: Path, baseline: Results) -> None:
    new = case(batch=64)
    entries = [e for one in (case(), OTHER, new) for e in replicates(one, QUIET)]
    report = two_runs.check(
        now(tmp_path, entries), baseline, history=quiet(tmp_path, case(), OTHER)
    )
    assert judged(report, new).verdict == "NEW"
    assert report.exit_code(strict=True) == 0


def test_a_new_case_that_breaks_is_no_pass(tmp_path: Path, baseline: Results) -> None:
    new = Failure(case=case(batch=2), replicate=0, status="crash", reason="ended by SIGSEGV")
    same = [*replicates(case(), QUIET), *replicates(OTHER, QUIET)]
    report = two_runs.check(now(tmp_path, [*same, new]), baseline)
    assert judged(report, new.case).verdict == "FAILED"
    assert judged(report, new.case).note == "new, crash: ended by SIGSEGV"
    assert report.exit_code(strict=False) == 4
    unsupported = replace(new, status="unsupported")
    report = two_runs.check(run_of(tmp_path / "other", [*same, unsupported]), baseline)
    assert report.exit_code(strict=False) == 0


def test_the_newest_baseline_of_a_folder_is_taken_whatever_it_is_called(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stored = tmp_path / "baselines"
    for name, year in (("z-old", 2024), ("a-new", 2025)):
        run_of(stored / name, replicates(case(), QUIET), started=f"{year}-01-01T00:00:00+00:00")
    (stored / "broken").mkdir()
    (stored / "broken" / "measurements.csv").write_text("what?")
    run = now(tmp_path, replicates(case(), QUIET))
    assert check(run.path, stored, 0.05, strict=False) == 0
    assert "against baseline <code>a-new</code>" in (run.path / "report.md").read_text()
    assert "Left out of the baselines: " in capsys.readouterr().out


@pytest.mark.parametrize("threshold", [0.0, 1.0, 5.0, float("inf"), float("nan")])
def test_a_threshold_in_percent_is_refused(tmp_path: Path, threshold: float) -> None:
    with pytest.raises(CheckError, match=r"such as 0\.05 for 5 %"):
        two_runs.check(now(tmp_path, replicates(case(), QUIET)), None, threshold)


def test_a_case_that_no_longer_runs_has_failed(tmp_path: Path, baseline: Results) -> None:
    crash = Failure(case=OTHER, replicate=0, status="crash", reason="signal 11")
    report = two_runs.check(now(tmp_path, [*replicates(case(), QUIET), crash]), baseline)
    assert judged(report, OTHER).verdict == "FAILED"
    assert judged(report, OTHER).note == "crash: signal 11"
    assert report.exit_code(strict=False) == 4


@pytest.mark.parametrize(
    ("before", "after", "verdict", "code"),
    [
        ("unsupported", "crash", "FAILED", 4),
        ("oom", "error", "FAILED", 4),
        ("error", "crash", "UNMEASURED", 0),
        ("unsupported", "oom", "UNMEASURED", 0),
        ("crash", "unsupported", "UNMEASURED", 0),
    ],
)
def test_a_case_that_breaks_where_it_only_could_not_run_before_has_failed(
    tmp_path: Path, before: Any, after: Any, verdict: str, code: int
) -> None:
    def entries(status: Any) -> list[Entry]:
        return [
            *replicates(case(), QUIET),
            Failure(case=OTHER, replicate=0, status=status, reason="why"),
        ]

    base = run_of(tmp_path / "base", entries(before))
    past = quiet(tmp_path, case())
    report = two_runs.check(now(tmp_path, entries(after)), base, history=past)
    assert judged(report, OTHER).verdict == verdict
    assert report.exit_code(strict=True) == code
    if verdict == "FAILED":
        assert judged(report, OTHER).note == f"was {before}: why; now {after}: why"


def test_nothing_measured_is_a_failure(tmp_path: Path, baseline: Results) -> None:
    crash = Failure(case=case(), replicate=0, status="crash", reason="signal 11")
    for name, entries in (("none", []), ("crashed", [crash])):
        report = two_runs.check(run_of(tmp_path / name, entries), baseline)
        assert report.headline.startswith("NOTHING MEASURED")
        assert report.exit_code(strict=False) == 4
    assert two_runs.check(run_of(tmp_path / "alone", []), None).exit_code(strict=False) == 4


def test_no_baseline_is_not_a_pass_when_strict(tmp_path: Path) -> None:
    report = two_runs.check(now(tmp_path, replicates(case(), QUIET)), None)
    assert report.headline.startswith("NO BASELINE")
    assert codes(report) == (0, 3)


def test_where_there_is_no_baseline_it_is_said_how_to_keep_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = now(tmp_path, replicates(case(), QUIET))
    (tmp_path / "baselines").mkdir()
    assert check(run.path, tmp_path / "baselines", 0.05, strict=False) == 0
    printed = capsys.readouterr().out
    assert "NO BASELINE" in printed
    assert "keep this run as one: copy its folder into results/baseline/" in printed
    assert "against nothing" in (run.path / "junit.xml").read_text()


def history(tmp_path: Path, factors: Sequence[float]) -> list[Results]:
    return [
        run_of(tmp_path / f"h{number}", replicates(case(), slower(factor)))
        for number, factor in enumerate(factors)
    ]


def test_beyond_five_earlier_runs_a_slowdown_is_a_regression(tmp_path: Path) -> None:
    base = run_of(tmp_path / "base", replicates(case(), QUIET))
    past = history(tmp_path, [0.98, 1.02, 1.01, 0.99, 1.00])
    report = two_runs.check(now(tmp_path, replicates(case(), slower(1.15))), base, history=past)
    assert verdicts(report) == ["REGRESSED"]
    assert report.comparison.earlier_runs == 6  # the baseline is one
    assert report.exit_code(strict=False) == 1


def test_within_the_spread_of_earlier_runs_nothing_is_said_to_be_slower(tmp_path: Path) -> None:
    base = run_of(tmp_path / "base", replicates(case(), QUIET))
    past = history(tmp_path, [0.90, 1.10, 1.05, 0.93, 1.00])
    report = two_runs.check(now(tmp_path, replicates(case(), slower(1.12))), base, history=past)
    assert verdicts(report) == ["INCONCLUSIVE"]  # Welch alone would suspect it
    # Nothing is hidden: it is said, with the way to find out.
    notes = [one.note for one in report.findings]
    assert "1.12 times the baseline, within the scatter of 6 earlier runs" in notes[0]
    assert command(report, case()).startswith("bench ab 0123abc4567 .")


def test_one_replicate_beside_a_history_is_no_suspicion(tmp_path: Path) -> None:
    """The noise of the two runs is unknown; against the earlier runs the case is judged."""
    base = run_of(tmp_path / "base", replicates(case(), QUIET))
    past = history(tmp_path, [0.99, 1.01, 1.005, 0.995, 1.00])
    report = two_runs.check(now(tmp_path, replicates(case(), [0.0099])), base, history=past)
    assert verdicts(report) == ["SAME"]
    assert report.comparison.commands == {}
    assert report.exit_code(strict=True) == 0


def test_a_case_whose_noise_is_unknown_lowers_no_bar_for_the_others(tmp_path: Path) -> None:
    """Corrected over the two that have a p, 0.028 is 0.056; with a p of 0 among them 0.042."""
    loud = [0.01135 * factor for factor in (0.92, 0.96, 1.00, 1.04, 1.08)]
    cases = (case(), OTHER, case(batch=64))

    def entries(*times_s: Sequence[float]) -> list[Entry]:
        return [
            entry
            for one, own_s in zip(cases, times_s, strict=True)
            for entry in replicates(one, own_s)
        ]

    base = run_of(tmp_path / "base", entries(QUIET, QUIET, QUIET))
    past = [
        run_of(tmp_path / f"h{number}", entries(slower(factor), QUIET, QUIET))
        for number, factor in enumerate([0.90, 1.10, 1.05, 0.93, 1.00])
    ]
    report = two_runs.check(now(tmp_path, entries(loud, [0.01], QUIET)), base, history=past)
    notes = [one.note for one in of_cases(report.findings)[case().case_id]]
    assert not any("within the scatter" in note for note in notes), notes


def with_control(entries: Sequence[Entry], control_s: float) -> list[Entry]:
    return [
        replace(one, controls={"matmul": (control_s,)}) if isinstance(one, Measurement) else one
        for one in entries
    ]


@pytest.mark.parametrize(("control_s", "verdict"), [(1.0, "REGRESSED"), (1.2, "SUSPECT")])
def test_a_slowdown_that_the_controls_share_is_no_regression_of_the_code(
    tmp_path: Path, control_s: float, verdict: str
) -> None:
    base = run_of(tmp_path / "base", with_control(replicates(case(), QUIET), 1.0))
    past = history(tmp_path, [1.00, 1.00, 1.01, 0.99, 1.00])
    run = now(tmp_path, with_control(replicates(case(), slower(1.2)), control_s))
    report = two_runs.check(run, base, history=past)
    assert verdicts(report) == [verdict]
    assert any(
        "which explains at least half of the slowdown" in one.note for one in report.findings
    ) is (control_s > 1)


@pytest.mark.parametrize(
    ("controls", "control_s", "verdict"),
    [
        ([1.00, 1.00, 1.001, 0.999, 1.00], 1.08, "REGRESSED"),  # less than half of the slowdown
        ([1.00, 1.00, 1.001, 0.999, 1.00], 1.12, "SUSPECT"),
        ([0.90, 1.10, 1.05, 0.95, 1.00], 1.12, "REGRESSED"),  # as far as the controls scatter
    ],
)
def test_controls_explain_half_of_a_slowdown_or_more_beyond_their_own_scatter(
    tmp_path: Path, controls: list[float], control_s: float, verdict: str
) -> None:
    base = run_of(tmp_path / "base", with_control(replicates(case(), QUIET), 1.0))
    past = [
        run_of(tmp_path / f"h{number}", with_control(replicates(case(), slower(factor)), own))
        for number, (factor, own) in enumerate(
            zip([1.00, 1.00, 1.01, 0.99, 1.00], controls, strict=True)
        )
    ]
    run = now(tmp_path, with_control(replicates(case(), slower(1.2)), control_s))
    assert verdicts(two_runs.check(run, base, history=past)) == [verdict]


def test_four_earlier_runs_are_too_few(tmp_path: Path) -> None:
    base = run_of(tmp_path / "base", replicates(case(), QUIET))
    past = history(tmp_path, [0.98, 1.02, 1.01, 0.99])
    report = two_runs.check(now(tmp_path, replicates(case(), slower(1.15))), base, history=past)
    assert (verdicts(report), report.comparison.earlier_runs) == (["SUSPECT"], 0)


def test_a_slower_baseline_that_was_accepted_is_not_held_against_older_runs(
    tmp_path: Path,
) -> None:
    base = run_of(tmp_path / "base", replicates(case(), slower(1.2)))
    past = history(tmp_path, [1.00, 1.00, 1.01, 0.99, 1.00] * 3)
    report = two_runs.check(now(tmp_path, replicates(case(), slower(1.2))), base, history=past)
    assert verdicts(report) != ["REGRESSED"]


@pytest.mark.parametrize(
    "neighbour",
    [
        {"started": "2026-03-02T00:00:00+00:00"},
        {"started": "2026-01-01T00:00:00+00:00", "config": {"replicates": 3, "samples_s": 0.1}},
    ],
)
def test_later_runs_and_quick_looks_are_no_history(
    tmp_path: Path, neighbour: dict[str, Any]
) -> None:
    full = {"replicates": 5, "samples_s": 0.5}
    entries = replicates(case(), QUIET)
    base = run_of(tmp_path / "base", entries, started="2026-02-01T00:00:00+00:00", config=full)
    run = run_of(tmp_path / "now", entries, started="2026-03-01T00:00:00+00:00", config=full)
    run_of(tmp_path / "other", entries, **{"config": full, **neighbour})
    run_of(tmp_path / "good", entries, started="2026-01-01T00:00:00+00:00", config=full)
    assert [one.path.name for one in beside(base, run)] == ["good"]


def test_earlier_runs_are_those_of_the_machine_beside_the_baseline(tmp_path: Path) -> None:
    base = run_of(tmp_path / "base", replicates(case(), QUIET))
    run = now(tmp_path, replicates(case(), QUIET))
    run_of(tmp_path / "earlier", replicates(case(), QUIET))
    run_of(tmp_path / "elsewhere", replicates(case(), QUIET), machine={"machine_id": "m2"})
    run_of(tmp_path / "copy", replicates(case(), QUIET), run_id="base")
    (tmp_path / "latest").symlink_to(tmp_path / "earlier")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "measurements.csv").write_text("no csv", encoding="utf-8")
    found = [one.path.name for one in beside(base, run)]
    assert "elsewhere" not in found
    assert found == ["earlier"]
    assert beside(load(tmp_path / "base" / "measurements.csv"), run) == []


def test_controls_that_moved_are_mentioned(tmp_path: Path) -> None:
    def entries(control_s: float) -> list[Entry]:
        controls = {"matmul": (control_s,)}
        return [measurement(case(), n, t, controls=controls) for n, t in enumerate(QUIET)]

    base = run_of(tmp_path / "base", entries(0.010))
    moved = two_runs.check(run_of(tmp_path / "moved", entries(0.013)), base)
    still = two_runs.check(run_of(tmp_path / "still", entries(0.0101)), base)
    assert moved.notes[0] == (
        "The machine itself became faster or slower: the reference work, which is the same in both "
        "runs, took 1.30 times as long as in the baseline."
    )
    assert not any("controls" in one for one in still.notes)


def test_a_baseline_without_a_believable_commit_leaves_it_to_be_filled_in(
    tmp_path: Path,
) -> None:
    environment = {**RUN["environment"], "git_commit": "$(reboot)"}
    base = run_of(tmp_path / "base", replicates(case(), QUIET), environment=environment)
    report = two_runs.check(now(tmp_path, replicates(case(), slower(1.2))), base)
    assert command(report, case()).startswith("bench ab BASELINE_REVISION . ")


@pytest.mark.parametrize("threshold", [0.0, -0.05, float("nan")])
def test_a_threshold_that_is_none_is_refused(
    tmp_path: Path, baseline: Results, threshold: float
) -> None:
    with pytest.raises(CheckError, match="--threshold"):
        two_runs.check(now(tmp_path, replicates(case(), QUIET)), baseline, threshold)


def test_the_page_has_its_verdict_first_and_everything_folded(
    tmp_path: Path, baseline: Results
) -> None:
    run = now(tmp_path, [*replicates(case(), slower(1.2)), *replicates(OTHER, QUIET)])
    text = markdown(two_runs.check(run, baseline))
    assert text.splitlines()[0] == "**1 SUSPECT (0 same, 1 undecided)**"
    assert "<details><summary>All 2 cases</summary>" in text
    assert "bench ab 0123abc4567 ." in text
    changed, folded = text.split("<details>")
    assert "| convnet inference N=8 | SUSPECT | forward latency" in changed.replace("&#95;", "_")
    assert "N=32" not in changed
    assert "| convnet inference N=32 | INCONCLUSIVE | forward latency" in folded
    assert case().case_id not in text


@pytest.mark.parametrize("name", ["a|b", "</details><b>", "`x`", "a\nb\n# c", "[l](http://x)@me"])
def test_names_are_harmless_in_the_page(tmp_path: Path, name: str) -> None:
    base = run_of(tmp_path / "base", replicates(case(subject=name), QUIET))
    text = markdown(two_runs.check(now(tmp_path, replicates(case(), QUIET)), base))
    table = [line for line in text.splitlines() if line.startswith("| ") and "case" not in line]
    assert len(table) >= 2
    assert all(line.count("|") == 7 for line in table)
    assert text.count("</details>") == 1
    assert "<b>" not in text
    assert "http://" not in text
    assert "\n# c" not in text
    assert "@me" not in text


def test_the_page_stays_under_sixty_kilobytes_and_says_what_it_leaves_out(
    tmp_path: Path,
) -> None:
    name = "💥" * 100 + "|<`>" * 300
    old = [
        Failure(case=case(subject=f"{name}{n}"), replicate=0, status="crash", reason=name)
        for n in range(400)
    ]
    base = run_of(tmp_path / "base", [*replicates(case(), QUIET), *old])
    text = markdown(two_runs.check(now(tmp_path, replicates(case(), QUIET)), base))
    assert len(text.encode()) < 60_000
    assert "… and 380 more changed cases" in text
    assert "cases are left out: the file is limited to 60 kB." in text


def of(*findings: Finding, commands: Mapping[str, str]) -> Checked:
    comparison = RunComparison(same_machine=True, commands=commands)
    return Report(
        comparison=comparison, base="then", value="now", threshold=0.05, findings=findings
    )


def test_each_case_that_is_in_doubt_has_its_command_in_the_page(tmp_path: Path) -> None:
    cases = [case(batch=2**power) for power in range(8)]
    base = run_of(tmp_path / "base", [e for one in cases for e in replicates(one, QUIET)])
    twice = [entry for one in cases for entry in replicates(one, slower(2.0))]
    text = markdown(two_runs.check(now(tmp_path, twice, machine={"machine_id": "m2"}), base))
    assert text.count("bench ab 0123abc4567 .") == 8
    assert "To settle the cases in doubt, run on this machine:" in text


def test_what_needs_no_settling_has_no_command(tmp_path: Path) -> None:
    def entries(*cases: Case) -> list[Entry]:
        return [entry for one in cases for entry in replicates(one, QUIET)]

    same, gone, new = case(), OTHER, case(batch=64)
    crash = Failure(case=case(batch=2), replicate=0, status="crash", reason="signal 11")
    base = run_of(tmp_path / "base", entries(same, gone, case(batch=2)))
    past = quiet(tmp_path, same)
    report = two_runs.check(now(tmp_path, [*entries(same, new), crash]), base, history=past)
    assert set(verdicts(report)) == {"SAME", "MISSING", "NEW", "FAILED"}
    assert list(report.comparison.commands) == [crash.case.case_id]


def test_a_long_command_is_kept_and_what_has_no_room_is_counted() -> None:
    long = f"bench ab A . --subject {'x' * 900}"
    suspects = [Finding(case_id=str(n), verdict="SUSPECT") for n in range(300)]
    assert "x" * 900 in markdown(of(suspects[0], commands={"0": long}))
    many = markdown(of(*suspects, commands=dict.fromkeys(map(str, range(300)), long)))
    kept = many.count("bench ab A .")
    assert 10 < kept < 300
    assert f"… and {300 - kept} more commands that did not fit" in many
    assert len(many.encode()) < 60_000


def test_a_page_whose_changed_part_alone_is_large_stays_under_sixty_kilobytes() -> None:
    findings = [
        Finding(
            case_id=f"{number}{'_' * 300}", phase="forward", figure="latency_median_s", base=1.0,
            value=2.0, ratio=2.0, verdict="SUSPECT", note="_" * 300,
        )
        for number in range(25)
        for _ in range(8)
    ]  # fmt: skip
    commands = {one.case_id: "bench ab A . " + "_" * 900 for one in findings}
    text = markdown(replace(of(*findings, commands=commands), notes=("_" * 300,) * 100))
    assert len(text.encode()) < 60_000
    changed, folded = text.split("<details>")
    shown = changed.count("SUSPECT") - 1
    assert shown > 8
    assert f"… and {25 - shown // 8} more changed cases in the full table." in changed
    assert "cases are left out: the file is limited to 60 kB." in folded


def test_the_table_of_a_check_fits_a_hundred_columns(tmp_path: Path, baseline: Results) -> None:
    run = now(tmp_path, [*replicates(case(), slower(1.2)), *replicates(case(batch=64), QUIET)])
    console = Console(width=100, record=True, file=(tmp_path / "out").open("w"))
    console.print(report_table(two_runs.check(run, baseline)))
    text = console.export_text()
    assert max(map(len, text.splitlines())) <= 100
    assert "SUSPECT" in text
    assert "MISSING" in text


def test_a_change_against_the_earlier_runs_is_told_where_the_two_figures_say_another(
    tmp_path: Path,
) -> None:
    """The run takes 13 % more than the baseline, which was a slow one, and 19 % than all six."""
    sentence = (
        "`worse by` of a time is against 6 earlier runs, of which the baseline is one, so it can "
        "differ from now / baseline"
    )
    past = history(tmp_path, [0.98, 1.02, 1.01, 0.99, 1.00])
    base = run_of(tmp_path / "base", replicates(case(), slower(1.06)))
    report = two_runs.check(now(tmp_path, replicates(case(), slower(1.20))), base, history=past)
    assert verdicts(report) == ["REGRESSED"]
    assert report_table(report).caption == sentence
    assert f" {sentence}.\n" in markdown(report)
    usual = run_of(tmp_path / "usual", replicates(case(), QUIET))
    report = two_runs.check(run_of(tmp_path / "b", replicates(case(), slower(1.2))), usual)
    assert report_table(report).caption == ""
    assert "earlier runs, of which" not in markdown(report)


def test_a_change_whose_interval_says_nothing_is_told_in_words() -> None:
    assert percent_more(1.123, 1.08, 1.169) == "+12.3 % (+8.0 to +16.9 %)"
    assert percent_more(1.02, 0.3, 3.5) == "+2.0 % (too wide)"
    assert percent_more(6.0, 1.5, 24.0) == "+500.0 % (+50.0 to +2300.0 %)"
    assert percent_more(1.02, None, None) == "+2.0 %"
    finding = Finding(
        case_id="a", figure="latency_median_s", phase="forward", base=1.0, value=1.02, ratio=1.02,
        ratio_low=0.3, ratio_high=3.5, verdict="SUSPECT",
    )  # fmt: skip
    for low, is_told in ((0.3, True), (1.01, False)):
        report = of(replace(finding, ratio_low=low), commands={})
        told = "oo wide: the 95 % interval is so wide"
        assert report_table(report).caption.startswith(f"t{told}") == is_told
        assert (f" T{told}" in markdown(report)) == is_told
