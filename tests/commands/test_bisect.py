"""The command `bench bisect`: the choice of a case, the journal, and a search in a repository."""

import csv
import dataclasses
import json
import math
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bench.ab import ab_plan
from bench.ab.ab_plan import AbError, Asked
from bench.ab.pair_journal import Pair
from bench.bisect import journal as bisect_journal
from bench.bisect.commits import BisectError, Commit
from bench.bisect.journal import Broken, Confirmed, Measured, to_line
from bench.bisect.posterior import Suspects
from bench.bisect.search import CannotRunError, OutOfBudgetError, UnconfirmedError
from bench.commands import ab, bisect
from bench.core import exit_codes
from bench.engine.policy import Deadline
from bench.host import environment
from bench.host.probed import Source
from bench.results import run_directory
from bench.results.journal import Journal
from bench.terminal.progress import wide_console
from bench.verdict import ab_csv
from bench.verdict.looks import LEAST_FRESH
from bench.verdict.report import Finding, Verdict
from tests.ab.test_decision import planned
from tests.support.cases import case
from tests.support.git import git
from tests.support.paths import ROOT

COMMITS = [Commit(f"{n}" * 40, f"change {n}", "2026-01-02") for n in range(1, 5)]


def chosen(names: dict[str, str], text: str, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(ab_plan, "names", lambda _: names)
    planned: Any = SimpleNamespace(missing={"x": "side B has no such case"})
    return bisect._chosen(planned, text)


NAMES = {"net:training:b8": "net training N=8", "net:training:b1": "net training N=1"}


def test_a_case_is_chosen_by_words_of_its_name_or_by_its_id(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert chosen(NAMES, "N=8 training", monkeypatch) == "net:training:b8"
    assert chosen(NAMES, "net:training:b1", monkeypatch) == "net:training:b1"
    assert chosen({"only": "net training"}, "", monkeypatch) == "only"


@pytest.mark.parametrize(
    ("names", "text", "words"),
    [
        (NAMES, "", "needs one case, and 2 are selected: net training N=8; net training N=1"),
        (NAMES, "N=3", "--case 'N=3' fits none of the cases: net training N=8; "),
        ({}, "", "no common case: side B has no such case"),
    ],
)
def test_a_choice_that_is_none_names_the_cases(
    names: dict[str, str], text: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(BisectError, match=words):
        chosen(names, text, monkeypatch)


class LivePairs:
    """Pairs that are known; a commit without values cannot be measured."""

    phase, key = "forward", "k"
    asked = Asked(options={"seed": 7})

    def __init__(
        self, values: dict[str, float], directory: Path = Path(), budget_s: float | None = None
    ) -> None:
        self.values, self.tried, self.directory = values, list[str](), directory
        good = SimpleNamespace(commit="0" * 40)
        self.planned = SimpleNamespace(sides=(good, None), cases={"k": {"A": case()}})
        self.now_s = 10.0
        self.deadline = Deadline(budget_s, lambda: self.now_s, 0.0)

    def pair(self, commit: Commit, number: int) -> tuple[Pair, float]:
        if self.deadline.spent:
            raise OutOfBudgetError
        self.tried.append(commit.sha)
        if commit.sha not in self.values:
            raise CannotRunError("it does not import")
        pair = Pair(stage="fresh", number=number, key="k", samples={"forward": ((1.0,), (1.1,))})
        return pair, self.values[commit.sha]


def measure(
    path: Path, values: dict[str, float], budget_s: float | None = None
) -> tuple[bisect._Measure, LivePairs]:
    live = LivePairs(values, path.parent, budget_s)
    found = bisect._Measure(
        commits=COMMITS, pairs=live, journal=Journal(path), console=wide_console(),  # type: ignore[arg-type]
        stored=bisect_journal.read(path),
    )  # fmt: skip
    return found, live


def test_what_the_journal_has_is_not_measured_again(tmp_path: Path) -> None:
    path = tmp_path / bisect_journal.NAME
    one, two, three = (commit.sha for commit in COMMITS[:3])
    lines: list[bisect_journal.Line] = [
        Measured(commit=one, value=0.1, good_s=1.0, commit_s=1.1),
        Broken(commit=two, why="it does not import"),
        Confirmed(parent=one, commit=three, differs=True, report="x"),
    ]
    path.write_text("".join(f"{to_line(line)}\n" for line in lines))
    found, live = measure(path, {one: 0.2, three: 0.3})
    assert found.pair(1) == 0.1
    with pytest.raises(CannotRunError, match="it does not import"):
        found.pair(2)
    assert found.differs(Suspects(2, 3, 0.9), math.log(1.1))
    assert live.tried == []
    assert found.pair(1) == 0.2  # the journal has one pair of it
    assert live.tried == [one]
    assert (found.count, found.values[1], found.confirmation) == (2, [0.1, 0.2], "x")


def test_pairs_of_the_journal_come_before_the_failure_that_ended_them(tmp_path: Path) -> None:
    path = tmp_path / bisect_journal.NAME
    one = COMMITS[0].sha
    lines: list[bisect_journal.Line] = [
        Measured(commit=one, value=0.1, good_s=1.0, commit_s=1.1),
        Measured(commit=one, value=0.2, good_s=1.0, commit_s=1.2),
        Broken(commit=one, why="out of memory"),
    ]
    path.write_text("".join(f"{to_line(line)}\n" for line in lines))
    found, live = measure(path, {one: 0.3})
    assert [found.pair(1), found.pair(1)] == [0.1, 0.2]
    with pytest.raises(CannotRunError, match="out of memory"):
        found.pair(1)
    assert live.tried == []


def test_bad_is_tried_again_though_it_could_not_be_measured_before(tmp_path: Path) -> None:
    path = tmp_path / bisect_journal.NAME
    bad = COMMITS[-1].sha
    path.write_text(f"{to_line(Broken(commit=bad, why='the fork server did not start'))}\n")
    found, live = measure(path, {bad: 0.3})
    assert found.pair(len(COMMITS)) == 0.3
    assert live.tried == [bad]


def test_each_answer_is_on_disk_before_the_next(tmp_path: Path) -> None:
    path = tmp_path / bisect_journal.NAME
    path.touch()
    found, _ = measure(path, {COMMITS[0].sha: 0.25})
    found.pair(1)
    with pytest.raises(CannotRunError):
        found.pair(2)
    kinds = [json.loads(line)["kind"] for line in path.read_text().splitlines()]
    assert kinds == ["pair", "broken"]


class Compared:
    """`bench ab` with a known result; it keeps what it was asked."""

    def __init__(self, code: int, *verdicts: tuple[str, Verdict]) -> None:
        """verdicts: with the figure of each."""
        self.code, self.asked = code, list[Asked]()
        self.findings = [
            Finding(case_id="k", phase="forward", figure=figure, verdict=verdict)
            for figure, verdict in verdicts
        ]

    def __call__(self, asked: Asked) -> int:
        self.asked.append(asked)
        assert asked.out is not None
        asked.out.mkdir()
        ab_csv.write(asked.out / "ab.csv", self.findings)
        return self.code


def confirmed(path: Path) -> list[bool]:
    """The answers of comparisons in the journal."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [line["differs"] for line in lines if line["kind"] == "confirmed"]


@pytest.mark.parametrize(
    ("compared", "differs"),
    [
        (Compared(1, ("time_s", "REGRESSED")), True),
        (Compared(0, ("time_s", "SAME")), False),
        (Compared(1, ("operators", "REGRESSED"), ("time_s", "SAME")), False),
    ],
)
def test_a_comparison_answers_by_the_time_alone_and_is_not_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compared: Compared, differs: bool
) -> None:
    monkeypatch.setattr(ab, "run", compared)
    path = tmp_path / bisect_journal.NAME
    path.touch()
    found, _ = measure(path, {})
    assert found.differs(Suspects(2, 2, 0.96), math.log(1.1)) is differs
    assert confirmed(path) == [differs]
    again, _ = measure(path, {})
    assert again.differs(Suspects(2, 2, 0.96), math.log(1.1)) is differs
    (asked,) = compared.asked
    assert (asked.a, asked.b) == (COMMITS[0].sha, COMMITS[1].sha)


def test_an_improvement_is_compared_backwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared = Compared(1, ("time_s", "REGRESSED"))
    monkeypatch.setattr(ab, "run", compared)
    path = tmp_path / bisect_journal.NAME
    path.touch()
    assert measure(path, {})[0].differs(Suspects(2, 2, 0.96), -math.log(1.1))
    assert (compared.asked[0].a, compared.asked[0].b) == (COMMITS[1].sha, COMMITS[0].sha)


@pytest.mark.parametrize("change", [math.log(1.04), -math.log(1.04)])
def test_a_small_change_is_compared_with_half_of_its_size_whatever_the_sweep_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: float
) -> None:
    compared = Compared(1, ("time_s", "REGRESSED"))
    monkeypatch.setattr(ab, "run", compared)
    path = tmp_path / bisect_journal.NAME
    path.touch()
    assert measure(path, {})[0].differs(Suspects(2, 2, 0.96), change)
    (asked,) = compared.asked
    assert asked.threshold == pytest.approx(0.02)
    assert asked.for_all


@pytest.mark.parametrize(
    "compared",
    [
        Compared(0, ("time_s", "INCONCLUSIVE")),
        Compared(0, ("time_s", "UNTRUSTED")),
        Compared(1, ("operators", "REGRESSED"), ("time_s", "INCONCLUSIVE")),
        Compared(4),
    ],
)
def test_a_comparison_that_decides_nothing_is_no_answer_and_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, compared: Compared
) -> None:
    monkeypatch.setattr(ab, "run", compared)
    path = tmp_path / bisect_journal.NAME
    path.touch()
    for _ in range(2):
        found, _ = measure(path, {})
        with pytest.raises(UnconfirmedError):
            found.differs(Suspects(2, 2, 0.96), math.log(1.1))
    assert confirmed(path) == []
    first, second = (asked.out for asked in compared.asked)
    assert found.confirmation == str(second) != str(first)


def test_a_comparison_that_the_budget_cut_is_no_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / bisect_journal.NAME
    path.touch()
    found, live = measure(path, {}, budget_s=11.0)
    compared = Compared(0, ("time_s", "INCONCLUSIVE"))

    def run(asked: Asked) -> int:
        live.now_s = 12.0  # the comparison took what was left
        return compared(asked)

    monkeypatch.setattr(ab, "run", run)
    with pytest.raises(OutOfBudgetError):
        found.differs(Suspects(2, 2, 0.96), math.log(1.1))
    assert compared.asked[0].options == {"seed": 7, "budget_s": 1.0}
    assert confirmed(path) == []


def test_a_comparison_that_cannot_start_ends_the_search_with_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(_: Asked) -> int:
        raise AbError("A (111111111): subject does not import")

    monkeypatch.setattr(ab, "run", run)
    path = tmp_path / bisect_journal.NAME
    path.touch()
    with pytest.raises(UnconfirmedError, match="subject does not import"):
        measure(path, {})[0].differs(Suspects(2, 2, 0.96), math.log(1.1))


def begun(path: Path) -> Path:
    """The directory of a search without a pair."""
    run_directory.create(path, {}, name=bisect.DESCRIPTION, journal=bisect_journal.NAME)
    return path


def searched(path: Path, live: LivePairs, monkeypatch: pytest.MonkeyPatch) -> int:
    """Search in a directory; the exit code."""
    monkeypatch.setattr(ab_plan, "names", lambda _: {"k": "net training N=8"})
    pairs: Any = live
    wanted = bisect.Wanted(good="v1", bad="HEAD")
    return bisect._search(wanted, COMMITS, [1.0] * len(COMMITS), pairs, path, wide_console())


def test_a_budget_shorter_than_the_set_up_leaves_a_report_and_exit_code_3(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = begun(tmp_path / "out")
    live = LivePairs({}, path, budget_s=1.0)
    assert searched(path, live, monkeypatch) == exit_codes.UNDECIDED
    said = " ".join(capsys.readouterr().out.split())
    assert "The budget ended after 0 pairs of GOOD and BAD" in said
    assert "The budget ended after 0 pairs" in (path / "report.md").read_text()


def test_nobody_else_may_write_into_the_directory_until_it_is_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = begun(tmp_path / "out")
    refused: list[str] = []

    def finish(run: run_directory.RunDir, *, complete: bool) -> None:
        with pytest.raises(run_directory.RunDirError) as caught:
            run_directory.lock(run)
        refused.append(f"{caught.value}; complete: {complete}")

    monkeypatch.setattr(run_directory, "finish", finish)
    searched(path, LivePairs({}, path, budget_s=1.0), monkeypatch)
    said = f"{path}: another `bench run` is writing here; wait for it; complete: False"
    assert refused == [said]
    run_directory.release(run_directory.lock(run_directory.RunDir(path)))


def test_a_resume_takes_no_other_search(tmp_path: Path) -> None:
    with pytest.raises(BisectError, match="give it without revisions"):
        bisect.run(bisect.Wanted(resume=tmp_path, good="v1"))
    with pytest.raises(BisectError, match="is not a bisection: No such file"):
        bisect.run(bisect.Wanted(resume=tmp_path / "nowhere"))
    (tmp_path / bisect.DESCRIPTION).write_text("{}")
    with pytest.raises(BisectError, match="is damaged"):
        bisect.run(bisect.Wanted(resume=tmp_path))


def test_a_search_is_not_gone_on_with_on_another_machine_or_by_another_torch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment, "git_state", lambda _: {"git_commit": None})
    path = tmp_path / "out"
    plan = dataclasses.replace(planned(), torch_details={"torch": "2.13.0", "threads": 2})
    assert bisect._directory(bisect.Wanted(out=path), COMMITS, "k", plan) == path
    again = bisect.Wanted(resume=path)
    assert bisect._directory(again, COMMITS, "k", plan) == path
    changes: list[tuple[str, Any]] = [
        ("machine_id", "m2"),
        ("torch", {"A": "2.12.0"}),
        ("sources", {"B": {"net": Source(file="net.py", digest="1")}}),
    ]
    for name, value in changes:
        field = {"torch": "versions"}.get(name, name)
        other = dataclasses.replace(plan, **{field: value})
        with pytest.raises(BisectError, match=f"changed since then: {name}; start a new search"):
            bisect._directory(again, COMMITS, "k", other)
    with monkeypatch.context() as here:
        here.setenv("ATEN_CPU_CAPABILITY", "default")
        with pytest.raises(BisectError, match="environment variable ATEN_CPU_CAPABILITY"):
            bisect._directory(again, COMMITS, "k", plan)


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Five commits; the fourth does four times the work, the third does not import."""
    folder = tmp_path / "repository"
    (folder / "pkg").mkdir(parents=True)
    git(folder, "init", "--quiet", "--initial-branch=main")
    text = (ROOT / "tests" / "subjects" / "ab_subjects.py").read_text()
    for number, (times, broken) in enumerate([(1, ""), (1, ""), (1, "oops("), (4, ""), (4, "")]):
        (folder / "pkg/__init__.py").write_text(f"NUMBER = {number}\n")
        work = text.replace("range(self.count", f"range({times} * self.count")
        (folder / "pkg/net.py").write_text(f"{work}\nNUMBER = {number}\n{broken}\n")
        git(folder, "add", ".")
        git(folder, "commit", "--quiet", "-m", f"commit {number}")
    monkeypatch.chdir(folder)
    monkeypatch.setattr(ab_plan, "FRESH_PAIRS", LEAST_FRESH)  # enough for four times the work
    return folder


def table(path: Path) -> Sequence[dict[str, str]]:
    with (path / "bisect.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
@pytest.mark.alone
def test_the_commit_with_more_work_is_found_beside_one_that_does_not_import(
    repository: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    axes = {"mode": ("inference",), "batch": ("8",), "threads": ("1",)}
    subjects = ("pkg.net:Products(8)",)
    code = bisect.run(
        bisect.Wanted(good="HEAD~4", bad="main", subjects=subjects, axes=axes, out=out)
    )
    assert code == exit_codes.OK
    rows = table(out)
    assert [row["subject"] for row in rows] == [f"commit {n}" for n in range(1, 5)]
    both = float(rows[1]["probability"]) + float(rows[2]["probability"])
    assert both > 0.95  # the third cannot run, so that it and the fourth are one answer
    assert "SyntaxError" in rows[1]["not_measured"] or rows[1]["not_measured"] == ""
    report = (out / "report.md").read_text()
    assert report.startswith("**")
    assert "confirms the change" in report
    assert (out / "bisect.png").is_file()
    assert len(git(repository, "worktree", "list").splitlines()) == 1
