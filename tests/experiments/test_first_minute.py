"""The table of the first minute counts what runs answer."""

from pathlib import Path

from experiments.first_minute import Answers, Took, against, answers, table
from tests.support.cases import case
from tests.support.results import replicates, run_of

LAST = case(memory_format="channels_last")
AMP = case(amp="bfloat16")


def test_covered_cases_and_intervals_are_counted(tmp_path: Path) -> None:
    entries = [
        *replicates(case(), [0.02, 0.021, 0.02]),
        *replicates(LAST, [0.01, 0.011, 0.01], flags=("contended",)),
        *replicates(AMP, [0.01, 0.011]),
    ]
    run = run_of(
        tmp_path / "run",
        entries,
        config={"replicates": 3},
        cases=[one.as_dict() for one in (case(), LAST, AMP)],
        spent={"imports_s": 6.0, "warmup_s": 1.0, "samples_s": 3.0},
    )
    assert answers(run) == Answers(
        cases=3, covered=2, speedups=2, intervals=1, flagged=1, share=0.4
    )


def test_a_target_that_is_not_reached_says_so() -> None:
    assert against(12.34, 20.0) == "12.3 s (20 s)"
    assert against(25.0, 20.0) == "25.0 s (20 s, missed)"
    assert against(None, 10.0) == "none (10 s, missed)"
    assert against(5.0, None) == "5.0 s"


def test_the_table_has_a_line_for_each_run() -> None:
    took = Took(wall_s=50.0, first_figure_s=9.0, exit_code=0)
    seen = Answers(cases=6, covered=6, speedups=4, intervals=4, flagged=0, share=None)
    ((name, first, done, *counts),) = table([("quiet", took, seen)]).rows
    assert [name.text, first.text, done.text] == ["quiet", "9.0 s (10 s)", "50.0 s (60 s)"]
    assert [one.text for one in counts] == ["6/6", "4/4", "0/6", "–", "0"]
