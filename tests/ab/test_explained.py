"""The causes of verdicts, and the case that none can be found."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from bench.ab import explained
from bench.commands import ab
from bench.core.errors import UserError
from bench.core.records import Case, Failure
from bench.engine.workers import Experience
from bench.results.profile_parts import StepParts
from bench.verdict.comparison import PairComparison
from bench.verdict.outputs import markdown
from bench.verdict.report import TIME, Finding, Report
from tests.ab.test_decision import planned
from tests.explain.sides import CONV, MODULES, PLAIN, side
from tests.support.cases import case

ONE, TWO, THREE, FOUR = (case(batch=size).case_id for size in (1, 2, 3, 4))


def report(*findings: Finding, causes: str = "") -> Report[PairComparison]:
    comparison = PairComparison(causes=causes)
    return Report(comparison=comparison, base="main", value=".", threshold=0.05, findings=findings)


def row(case_id: str, verdict: Any, ratio: float = 1.2, figure: str = TIME) -> Finding:
    return Finding(case_id=case_id, phase="forward", figure=figure, ratio=ratio, verdict=verdict)


def test_what_regressed_is_explained_those_that_changed_most_first() -> None:
    found = [row(ONE, "REGRESSED"), row(TWO, "REGRESSED", 1.5), row(THREE, "IMPROVED", 0.1)]
    assert explained.cases(found, None) == [TWO, ONE]


def test_what_improved_is_explained_when_asked_for_and_nothing_when_refused() -> None:
    found = [row(ONE, "REGRESSED"), row(TWO, "IMPROVED", 0.5), row(THREE, "SAME")]
    assert explained.cases(found, True) == [TWO, ONE]
    assert explained.cases(found, False) == []


def test_a_counted_figure_that_regressed_is_explained_after_times() -> None:
    found = [row(ONE, "REGRESSED", 2.0, "operators"), row(TWO, "REGRESSED", 1.1)]
    assert explained.cases(found, None) == [TWO, ONE]


class FakeProfiler:
    """Profiles without processes; `raises` or `fails` says how it ends."""

    def __init__(
        self, raises: BaseException | None = None, *, fails: bool = False, cases: int = 0
    ) -> None:
        """cases: that are profiled before it raises."""
        self.raises, self.fails, self.cases = raises, fails, cases
        self.profiled: list[str] = []

    def __call__(self, **_: Any) -> "FakeProfiler":
        return self

    @contextmanager
    def open(self, _: Sequence[Mapping[str, Case]]) -> Iterator["FakeProfiler"]:
        if self.raises is not None and not self.cases:
            raise self.raises
        yield self

    def profile(
        self, sides: Mapping[str, Case], until_s: float | None = None
    ) -> Mapping[str, StepParts] | Failure:
        assert until_s is not None
        if self.raises is not None and len(self.profiled) == self.cases:
            raise self.raises
        self.profiled.append(sides["A"].case_id)
        if self.fails:
            return Failure(case=sides["A"], replicate=0, status="oom", reason="side B: too large")
        slower = side({**PLAIN, CONV: (2, 30e-3)}, modules=MODULES)
        return {"A": side(PLAIN, modules=MODULES), "B": slower}


def of(
    profiler: FakeProfiler,
    monkeypatch: pytest.MonkeyPatch,
    folder: Path,
    *,
    left_s: float | None = None,
) -> tuple[list[Any], list[str]]:
    monkeypatch.setattr(explained, "PairProfiler", profiler)
    cases = {one.case_id: {"A": one, "B": one} for one in (case(batch=n) for n in range(1, 5))}
    made = dataclasses.replace(planned(()), cases=cases)
    return explained.explained(
        list(cases), made, folder, Experience(), left_s=left_s, clock=lambda: 0.0
    )


def test_the_first_cases_are_explained_and_the_table_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    profiler = FakeProfiler()
    found, notes = of(profiler, monkeypatch, tmp_path)
    assert profiler.profiled == [ONE, TWO, THREE]
    assert len(found) == 3
    assert notes == [
        "The causes of 1 more case were not looked for: bench profile A B explains every case."
    ]
    table = (tmp_path / "difference.csv").read_text(encoding="utf-8")
    assert table.count("aten::mkldnn_convolution") == 3


def test_a_budget_explains_as_many_cases_as_it_has_time_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    profiler = FakeProfiler()
    of(profiler, monkeypatch, tmp_path, left_s=85.0)
    assert profiler.profiled == [ONE, TWO]
    found, notes = of(profiler, monkeypatch, tmp_path, left_s=10.0)
    assert found == []
    assert notes == ["The budget was used up before the causes could be looked for (--explain)."]


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (UserError("no torch"), "The causes were not found: no torch"),
        (OSError(28, "No space left on device"), "No space left on device"),
        (KeyboardInterrupt(), "was interrupted; the verdicts stand"),
    ],
)
def test_an_error_becomes_a_note_and_no_verdict_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, said: str
) -> None:
    found, notes = of(FakeProfiler(error), monkeypatch, tmp_path)
    assert found == []
    assert said in notes[-1]


@pytest.mark.parametrize("error", [UserError("broken"), KeyboardInterrupt()])
def test_the_cases_before_an_error_have_their_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    found, _ = of(FakeProfiler(error, cases=1), monkeypatch, tmp_path)
    assert len(found) == 1
    table = (tmp_path / "difference.csv").read_text(encoding="utf-8")
    assert table.count("aten::mkldnn_convolution") == 1


def test_a_case_that_cannot_be_profiled_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, notes = of(FakeProfiler(fails=True), monkeypatch, tmp_path)
    assert notes[1] == f"The causes were not found: {ONE}: side B: too large"


def test_the_section_stands_in_the_report_before_the_full_table() -> None:
    text = markdown(report(row(ONE, "REGRESSED"), causes="\n### Why\n\n1. because\n"))
    assert text.index("REGRESSED") < text.index("### Why") < text.index("<details>")


def test_the_command_adds_the_causes_to_its_report_and_changes_no_verdict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(explained, "PairProfiler", FakeProfiler())
    cases = {ONE: {"A": case(batch=1), "B": case(batch=1)}}
    made = dataclasses.replace(planned(()), cases=cases)
    before = report(row(ONE, "REGRESSED"))
    after = ab._with_causes(before, [ONE], made, tmp_path, Experience(), None)
    assert after.findings == before.findings
    assert "<code>layer1.conv</code>" in after.comparison.causes
    assert any("`layer1.conv` +20.0 ms" in line for line in after.comparison.causes_told)


def test_what_is_left_of_a_budget_is_what_the_pairs_have_not_used() -> None:
    made = planned(())
    assert ab._left_s(made, 30.0) is None
    run = made.run.model_copy(update={"budget_s": 100.0})
    assert ab._left_s(dataclasses.replace(made, run=run), 30.0) == 70.0
