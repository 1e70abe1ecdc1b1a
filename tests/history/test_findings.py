"""Findings of made-up histories, and their sentences."""

import random

import pytest

from bench.history import findings, sentences, series
from bench.history.findings import History
from bench.history.store import Run
from tests.support.cases import PLAIN, case
from tests.support.history import line_of, run_of, runs_of

OLD = {"torch": "2.13.0", "Python": "3.11.7"}


def times(*levels: tuple[int, float], seed: int = 0) -> list[float]:
    """Runs at levels of seconds, with 1 % of noise."""
    rng = random.Random(seed)
    return [level * rng.lognormvariate(0, 0.01) for count, level in levels for _ in range(count)]


def history(runs: list[Run], commits: int = 60) -> History:
    return findings.examine(series.gather(runs, line_of(commits)).series)


def test_a_slower_level_is_found_at_its_first_commit() -> None:
    (found,) = history(runs_of(times((20, 0.100), (10, 0.120)))).findings
    assert (found.before.place, found.after.place, found.commits) == (19, 20, 1)
    assert found.is_slower
    text = sentences.sentence(found, "convnet inference N=8")
    assert text.startswith("suspect: convnet inference N=8 is 2")
    assert "since 00000000 (2026-11-03: change 20): 99" in text
    assert "in 20 runs before, " in text
    assert text.endswith("in 10 runs after")


def test_an_unchanged_series_is_judged_and_silent() -> None:
    judged = history(runs_of(times((30, 0.1))))
    assert judged.findings == ()
    assert findings.told(judged.census) == "1 of 1 series judged"


def test_between_two_measured_commits_the_number_of_commits_is_said() -> None:
    seconds = times((10, 0.1), (10, 0.12))
    runs = [run_of(3 * number, time_s) for number, time_s in enumerate(seconds)]
    (found,) = history(runs).findings
    assert found.commits == 3
    assert "somewhere after 00000000 and up to 00000000 (3 commits, 2026-11-03)" in (
        sentences.sentence(found, "x")
    )


def test_a_new_torch_at_the_step_is_named_before_the_code() -> None:
    new = {"torch": "2.14.0", "Python": "3.11.7"}
    runs = [
        run_of(number, time_s, marks=new if number >= 10 else OLD)
        for number, time_s in enumerate(times((10, 0.1), (10, 0.12)))
    ]
    (found,) = history(runs).findings
    assert found.marks == {"torch": ("2.13.0", "2.14.0")}
    text = sentences.sentence(found, "x")
    assert "torch from 2.13.0 to 2.14.0 changed there, too. x is" in text


def test_a_new_torch_at_the_same_commit_is_no_change_of_the_code() -> None:
    new = {"torch": "2.14.0", "Python": "3.11.7"}
    runs = [
        run_of(0, time_s, run_id=f"{number:02}", started=f"2026-11-{number + 1:02}",
               marks=new if number >= 10 else OLD)
        for number, time_s in enumerate(times((10, 0.1), (10, 0.12)))
    ]  # fmt: skip
    (found,) = history(runs).findings
    assert found.commits == 0
    assert sentences.repeat(found) == ""
    assert "between two runs of the same commit" in sentences.sentence(found, "x")


def test_a_counted_figure_that_changed_there_is_told() -> None:
    runs = [
        run_of(number, time_s, row={"operators": 41 if number < 10 else 44, "peak_bytes": 5000000})
        for number, time_s in enumerate(times((10, 0.1), (10, 0.12)))
    ]
    (found,) = history(runs).findings
    assert found.counted == {"operators": (41.0, 44.0)}
    assert sentences.explained(found) == "operators 41.0 → 44.0"


def test_the_command_names_both_commits_and_the_case() -> None:
    one = case(mode="training", grad_mode=None, memory_format="channels_last")
    (found,) = history(runs_of(times((10, 0.1), (10, 0.12)), one)).findings
    assert sentences.repeat(found) == (
        "bench ab 00000000 00000000 --subject convnet --mode training --batch 8 --input 3,224,224 "
        "--device cpu --memory-format channels_last"
    )


def test_what_is_faster_comes_after_what_is_slower() -> None:
    fast = case(batch=1)
    runs = runs_of(times((20, 0.100), (10, 0.120))) + [
        run_of(number, time_s, fast, run_id=f"f{number}")
        for number, time_s in enumerate(times((20, 0.100), (10, 0.050), seed=1))
    ]
    slower, faster = history(runs).findings
    assert (slower.is_slower, faster.is_slower) == (True, False)
    assert sentences.change(faster).startswith(("50.", "49."))


@pytest.mark.parametrize(
    ("runs", "why"),
    [
        (runs_of(times((9, 0.1))), "fewer than 10 runs"),
        ([run_of(0, 0.1, run_id=str(one)) for one in range(12)], "all its runs are of one commit"),
        (
            runs_of([0.1 * 1.01**number for number in range(40)]),
            "its times drift: ",
        ),
    ],
)
def test_a_series_that_is_not_judged_has_its_reason(runs: list[Run], why: str) -> None:
    judged = history(runs)
    assert judged.findings == ()
    assert judged.examined[0].why_not.startswith(why)
    assert findings.told(judged.census) == (
        f"0 of 1 series judged; not judged: 1 ({why.removesuffix(': ')})"
    )


def test_a_disturbed_run_is_in_its_series_and_is_not_judged() -> None:
    runs = [
        run_of(number, time_s, row={"flags": "noisy;contended"} if number >= 20 else {})
        for number, time_s in enumerate(times((20, 0.100), (10, 0.300)))
    ]
    judged = history(runs)
    assert judged.findings == ()
    assert len(judged.examined[0].series.points) == 30
    assert judged.examined[0].series.disturbed == 10
    (few,) = history(runs[15:]).examined
    assert few.why_not == "fewer than 10 undisturbed runs"


def test_names_leave_out_what_all_series_share() -> None:
    gathered = series.gather(runs_of([0.1]), line_of(1)).series
    assert sentences.names_of(gathered).of(PLAIN) == "convnet inference N=8"
