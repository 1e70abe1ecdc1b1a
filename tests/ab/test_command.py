"""`bench ab`: its report, its exit codes, and the real thing on small subjects."""

import csv
import io
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from bench.ab import ab_plan, decision, findings, scheduler
from bench.ab.ab_plan import AbError, Asked
from bench.ab.pair_journal import to_line
from bench.ab.variants import Side, SideError
from bench.ab.workers import PairWorkers
from bench.commands import ab
from bench.engine.fork_server import StartError
from bench.engine.workers import ServerKind
from bench.plan.config import RunOptions
from bench.results import run_directory
from bench.results.journal import JournalError
from bench.terminal.progress import wide_console
from bench.verdict import ci, outputs
from bench.verdict.comparison import PairComparison
from bench.verdict.looks import Stage
from bench.verdict.outputs import markdown
from bench.verdict.report import NOTHING_PAIRED, Finding, PairEvidence, Report, Verdict
from bench.verdict.tables import report_table
from tests.ab.test_decision import A, B, good, planned
from tests.support.cases import case
from tests.support.git import git
from tests.support.paths import ROOT

SUBJECTS = ROOT / "tests/subjects/ab_subjects.py"


def row(verdict: Verdict, figure: str | None = "time_s", **changes: Any) -> Finding:
    wanted = {"case_id": "net", "phase": "forward", "figure": figure, "verdict": verdict}
    return Finding(**{**wanted, **changes})


def report(*findings: Finding, **changes: Any) -> Report[PairComparison]:
    given = {"base": "main", "value": ".", "threshold": 0.05, "findings": findings}
    return Report(**{"comparison": PairComparison(), **given, **changes})


@pytest.mark.parametrize(
    ("rows", "headline", "code", "strictly"),
    [
        (
            [row("SAME"), row("INCONCLUSIVE"), row("SAME", "flops")],
            "no regression found (1 same, 1 undecided)",
            0,
            3,
        ),
        ([row("SAME")], "no regression found (1 same, 0 undecided)", 0, 0),
        (
            [row("SAME"), row("INCONCLUSIVE", "flops")],  # unknown on side B
            "no regression found (1 same, 1 undecided)",
            0,
            3,
        ),
        (
            [row("IMPROVED"), row("SAME")],
            "no regression found (2 same or better (1 IMPROVED), 0 undecided)",
            0,
            0,
        ),
        ([row("REGRESSED"), row("SAME")], "1 REGRESSED (1 same, 0 undecided)", 1, 1),
        ([row("SAME"), row("REGRESSED", "flops")], "1 REGRESSED (1 same, 0 undecided)", 1, 1),
        ([row("SAME"), row("DIFFERS", "flops")], "no regression found (1 same, 0 undecided)", 0, 0),
        (
            [row("REGRESSED"), row("FAILED", figure=None)],
            "1 FAILED, 1 REGRESSED (0 same, 0 undecided)",
            4,
            4,
        ),
        ([row("UNTRUSTED", note="A differs from A")], "UNTRUSTED: A differs from A", 0, 3),
        (
            [row("UNTRUSTED", note="A differs from A"), row("REGRESSED", "graph_breaks")],
            "1 REGRESSED, UNTRUSTED: A differs from A",
            1,
            1,
        ),
        (
            [row("SAME"), row("NEW", "phase"), row("UNMEASURED", None)],
            "no regression found (1 same, 0 undecided, 1 unmeasured)",
            0,
            0,
        ),
    ],
)
def test_the_first_line_and_the_exit_code_follow_from_the_rows(
    rows: list[Finding], headline: str, code: int, strictly: int
) -> None:
    one = report(*rows)
    assert one.headline == headline
    assert (one.exit_code(strict=False), one.exit_code(strict=True)) == (code, strictly)


def test_a_comparison_of_nothing_says_so_and_fails() -> None:
    nothing = report(empty=NOTHING_PAIRED)
    assert nothing.headline == "NOTHING MEASURED: no case ran on both sides"
    assert (nothing.exit_code(strict=False), nothing.exit_code(strict=True)) == (4, 4)
    assert nothing.headline in markdown(nothing)
    assert nothing.headline in printed(nothing, 100)


def test_more_operators_are_a_regression_of_a_revision_and_a_difference_of_a_setting() -> None:
    a, b = {"operators": 10.0, "flops": 5.0}, {"operators": 11.0, "flops": 4.0}
    gated = findings.counted("net", "forward", a, b, gated=True)
    shown = findings.counted("net", "forward", a, b, gated=False)
    assert {one.figure: one.verdict for one in gated} == {
        "flops": "IMPROVED",
        "operators": "REGRESSED",
    }
    assert {one.verdict for one in shown} == {"DIFFERS"}


def test_the_report_begins_with_the_verdict_shows_all_and_bears_hostile_names() -> None:
    hostile = row("REGRESSED", case_id="net|<script>`", base=0.001, value=0.0011, ratio=1.1)
    text = markdown(report(hostile, row("SAME")))
    assert text.splitlines()[0] == "**1 REGRESSED (1 same, 0 undecided)**"
    assert "<script>" not in text
    assert "net&#124;&lt;script&gt;&#96;" in text
    assert "| 1.00 ms | 1.10 ms | +10.0 % | REGRESSED |" in text
    assert "All 2 figures" in text


def test_a_report_of_very_many_cases_stays_under_60_kb_and_says_what_it_leaves_out() -> None:
    rows = [row("SAME", case_id=f"net{n}" * 20) for n in range(2000)]
    text = markdown(report(*rows))
    assert len(text.encode()) <= 60_000
    assert "are left out: the file is limited to 60 kB" in text


def test_the_report_names_changed_cases_as_the_table_does_and_folds_what_is_counted() -> None:
    one, other = case(), case(memory_format="channels_last")
    rows = [
        row("REGRESSED", case_id=other.case_id, base=0.001, value=0.0011, ratio=1.1),
        row("REGRESSED", "operators", case_id=other.case_id, base=10.0, value=11.0, ratio=1.1),
        row("IMPROVED", "flops", case_id=other.case_id, base=50.0, value=40.0, ratio=0.8),
        row("SAME", case_id=one.case_id, base=0.001, value=0.001, ratio=1.0),
    ]
    cases = {each.case_id: each for each in (one, other)}
    text = markdown(report(*rows, cases=cases))
    changed, everything = text.split("<details>")
    assert "all convnet, inference, N=8, on cpu, 3,224,224, float32" in changed
    assert "| channels&#95;last | forward | 1.00 ms | 1.10 ms | +10.0 % | REGRESSED |" in changed
    counted = [line for line in changed.splitlines() if "operators" in line]
    assert counted == [
        (
            "| channels&#95;last | forward: operators 10 → 11 (+10.0 %); flops 50 → 40 (-20.0 %) "
            "|  |  |  | REGRESSED |"
        )
    ]
    assert other.case_id in everything.replace("&#95;", "_")


def printed(one: Report[PairComparison], width: int) -> str:
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(report_table(one), width=width)
    return console.export_text()


@pytest.mark.parametrize("width", [80, 100])
def test_a_long_name_cuts_no_column_off(width: int) -> None:
    long = (
        "convnet/conv1:training:b32:3x224x224:cpu:float32:amp=off:channels_last:compile=off:t=auto"
    )
    figures = {"base": 0.0123, "value": 0.0456, "ratio": 1.1, "ratio_low": 0.9, "ratio_high": 1.3}
    shown = printed(report(row("REGRESSED", "time_s", case_id=long, **figures)), width)
    assert "REGRESSED" in shown
    assert "+10.0 % (-10.0 to +30.0 %)" in shown
    assert max(map(len, shown.splitlines())) <= width


@pytest.mark.parametrize("width", [80, 100])
def test_cases_are_named_by_what_differs_between_them(width: int) -> None:
    one, other = case(batch=1), case(batch=8, memory_format="channels_last")
    shown = printed(
        report(
            row("REGRESSED", case_id=one.case_id, base=0.01, value=0.02, ratio=2.0),
            row("SAME", case_id=other.case_id, base=0.01, value=0.01, ratio=1.0),
            cases={one.case_id: one, other.case_id: other},
        ),
        width,
    )
    assert "all convnet, inference, on cpu, 3,224,224, float32" in shown.splitlines()
    assert re.search(r"^N=1 plain +forward", shown, flags=re.MULTILINE)
    assert re.search(r"^N=8 channels_last +forward", shown, flags=re.MULTILINE)
    assert one.case_id not in shown


def test_the_counted_figures_of_a_case_are_one_line() -> None:
    one = case()
    counted = [
        row("REGRESSED", "operators", case_id=one.case_id, base=50, value=55, ratio=1.1),
        row("DIFFERS", "graph_breaks", case_id=one.case_id, base=0, value=2),
        row("SAME", "flops", case_id=one.case_id, base=5, value=5, ratio=1.0),
    ]
    shown = printed(report(*counted, cases={one.case_id: one}), 100)
    (line,) = [line for line in shown.splitlines() if "operators" in line]
    assert line.startswith("convnet inference N=8")
    assert "forward: operators 50 → 55 (+10.0 %); graph breaks 0 → 2" in line
    assert line.endswith("REGRESSED")


def test_what_is_undecided_says_what_would_have_been_found_wherever_it_is_read() -> None:
    undecided = row(
        "INCONCLUSIVE",
        base=0.001, value=0.0011, ratio=1.1, ratio_low=0.9, ratio_high=1.3,
        evidence=PairEvidence(
            smallest_effect_ratio=0.372, pairs_needed=88, outlook="more pairs",
        ),
    )  # fmt: skip
    one = report(undecided, row("SAME", evidence=PairEvidence(smallest_effect_ratio=0.06)))
    text = markdown(one)
    said = "would have found +37 %, needs about --pairs 88"
    assert f"| +10.0 % (-10.0 to +30.0 %) | INCONCLUSIVE; {said} |" in text
    assert "the --pairs that would find twice the threshold" in text
    assert "+6 %" not in text
    shown = printed(one, 100)
    for line in ("INCONCLUSIVE, would have found +37 %,", "needs about --pairs 88", "SAME"):
        assert re.search(rf" {re.escape(line)}$", shown, flags=re.MULTILINE), shown
    assert "would find twice the threshold" in " ".join(shown.split())
    (judged,) = ci.outcomes(report(undecided))
    assert judged.sentence == f"INCONCLUSIVE: forward +10.0 % (-10.0 to +30.0 %); {said}"


@pytest.mark.parametrize("least", [None, float("inf")])
def test_where_nothing_could_have_been_found_no_effect_is_named(least: float | None) -> None:
    one = report(row("INCONCLUSIVE", evidence=PairEvidence(smallest_effect_ratio=least)))
    assert "| INCONCLUSIVE |" in markdown(one)
    assert "four times in five" not in markdown(one)


def test_a_report_whose_changed_part_alone_is_large_stays_under_60_kb() -> None:
    many = [row("REGRESSED", case_id="|" * 200, note="|" * 200, phase="|" * 200)] * 25
    text = markdown(report(*many, notes=("|" * 200,) * 100))
    assert len(text.encode()) <= 60_000
    shown = text.partition("<details>")[0].count("REGRESSED") - 1
    assert shown > 8
    assert re.search(rf"… and {25 - shown} more \w+ in the full table", text)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (Asked(), "two sides are needed"),
        (Asked(a="amp=off"), "two sides are needed"),
        (Asked(a="amp=off", b="amp=off", threshold=0.0), "--threshold 0.0: is not a slowdown"),
        (Asked(a="amp=off", b="amp=off", threshold=5.0), "--threshold 5.0: is not a slowdown"),
        (Asked(a="a", b="b", resume=Path("x")), "--resume x: a resume keeps"),
        (Asked(resume=Path("nowhere")), "--resume nowhere: is not a comparison"),
    ],
)
def test_wrong_use_is_one_line(asked: Asked, said: str) -> None:
    with pytest.raises(AbError) as caught:
        ab.run(asked)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


# --- what ends it in the middle --------------------------------------------------------------


def begun(folder: Path) -> Path:
    """The directory of a comparison of which some pairs are in the journal."""
    out = folder / "out"
    (out / ".scratch").mkdir(parents=True)
    records = [*good(A, count=3), *good(A, count=3, null=True)]
    (out / "pairs.jsonl").write_text("".join(f"{to_line(one)}\n" for one in records))
    (out / "ab.json").write_text("{}")
    return out


def measured(out: Path, monkeypatch: pytest.MonkeyPatch, how: Callable[[], bool]) -> int:
    monkeypatch.setattr(scheduler.Pairs, "measure", lambda _: how())
    return ab._measure(out, planned((A, B)), wide_console(), strict=False)


def stops(error: BaseException) -> Callable[[], bool]:
    def measure() -> bool:
        raise error

    return measure


@pytest.mark.parametrize("error", [StartError, SideError, JournalError])
def test_an_error_in_the_middle_leaves_the_report_of_what_was_measured(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: type[Exception],
) -> None:
    out = begun(tmp_path)
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    with pytest.raises(error, match="torch is gone"):
        measured(out, monkeypatch, stops(error("torch is gone")))
    text = (out / "report.md").read_text()
    assert text.startswith("**no regression found (0 same, 2 undecided)**")
    assert "- The comparison is not complete: torch is gone" in text
    assert "not measured: torch is gone" in text
    assert "fewer than 6 pairs decide nothing" in text
    assert (out / "junit.xml").exists()
    assert (tmp_path / "summary.md").read_text() == text + "\n"
    assert json.loads((out / "ab.json").read_text())["exit_code"] == 2
    assert f"bench ab --resume {out}" in capsys.readouterr().out
    assert (out / ".scratch").exists()


def test_an_error_is_told_though_its_report_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = begun(tmp_path)
    (out / "report.md").mkdir()
    with pytest.raises(StartError, match="torch is gone"):
        measured(out, monkeypatch, stops(StartError("torch is gone")))


@pytest.mark.parametrize(
    ("module", "step"), [(decision, "decided"), (decision, "write"), (outputs, "tell")]
)
def test_who_interrupts_the_end_is_told_how_to_go_on(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    module: ModuleType,
    step: str,
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    out = begun(tmp_path)
    monkeypatch.setattr(module, step, interrupt)
    assert measured(out, monkeypatch, lambda: True) == 130
    assert f"interrupted; to resume: bench ab --resume {out}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("module", "step"),
    [(decision, "decided"), (decision, "write"), (run_directory, "finish")],
)
def test_nobody_else_may_write_into_the_directory_until_it_is_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: ModuleType, step: str
) -> None:
    out = begun(tmp_path)
    whole, refused = getattr(module, step), list[str]()

    def beside(*given: Any, **more: Any) -> Any:
        with pytest.raises(run_directory.RunDirError) as caught:
            run_directory.lock(run_directory.RunDir(out))
        refused.append(str(caught.value))
        return whole(*given, **more)

    monkeypatch.setattr(module, step, beside)
    assert measured(out, monkeypatch, lambda: False) == 0
    assert refused == [f"{out}: another `bench run` is writing here; wait for it"]
    run_directory.release(run_directory.lock(run_directory.RunDir(out)))


def test_a_first_line_is_never_cut_within_a_case_id() -> None:
    name = "pkg.module:make(64)/" + "layer." * 40 + "end"
    why = f"the null case, A against itself, differed ({name}|forward), so no time is trusted"
    text = markdown(report(row("UNTRUSTED", note=why), notes=(f"not so: {name}",)))
    assert text.splitlines()[0] == f"**UNTRUSTED: {why}**".replace("|", "&#124;")
    assert f"- not so: {name}\n" in text


def test_a_seed_is_drawn_where_none_was_given() -> None:
    drawn = {ab_plan._seeded(RunOptions()).seed for _ in range(8)}
    assert len(drawn) == 8
    assert ab_plan._seeded(RunOptions(seed=0)).seed == 0


@pytest.mark.parametrize(("b", "by_host"), [("cuda:0", True), ("cpu", False)])
def test_two_kinds_of_device_are_compared_by_the_hosts_clock(
    tmp_path: Path, b: str, by_host: bool
) -> None:
    sides = {name: Side(name=name, asked=".", kind="settings") for name in "AB"}
    workers = PairWorkers(
        sides=sides, cases={A: {"A": case(), "B": case(device=b)}}, run=RunOptions(),
        directory=tmp_path, stage="first", number=0,
    )  # fmt: skip
    server: Any = SimpleNamespace(dead=False)
    for name in "AB":
        workers.pools[name]._open[ServerKind(case().allocator)] = server
        assert workers._child(name, A)._asked.host_clock is by_host


def few(_: scheduler.Pairs, stage: Stage) -> int:
    """So few pairs that nothing is decided by them, and little is waited for."""
    return 2 if stage == "first" else 1


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two commits of a package; the second does four times the work.  The current directory."""
    folder = tmp_path / "repository"
    (folder / "pkg").mkdir(parents=True)
    git(folder, "init", "--quiet", "--initial-branch=main")
    text = SUBJECTS.read_text()
    for times in (1, 4):
        (folder / "pkg/__init__.py").write_text("")
        (folder / "pkg/net.py").write_text(
            text.replace("range(self.count", f"range({times} * self.count")
        )
        git(folder, "add", ".")
        git(folder, "commit", "--quiet", "-m", f"{times} times")
    monkeypatch.chdir(folder)
    monkeypatch.setattr(scheduler.Pairs, "_most", few)
    return folder


NET = ("pkg.net:Products(8)",)
AXES = {"mode": ("inference",), "batch": ("8",), "threads": ("1",)}


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "ab.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def code_of(folder: Path) -> int:
    """The exit code that the table calls for; 4 as well where a budget left no time measured."""
    found = {one["verdict"] for one in rows(folder)}
    measured = "time_s" in {one["figure"] for one in rows(folder)}
    return 4 if "FAILED" in found or not measured else int("REGRESSED" in found)


@pytest.mark.slow
@pytest.mark.alone
def test_four_times_the_work_in_the_second_revision_is_found_and_nothing_is_left_behind(
    repository: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (repository / "pkg/net.py").write_text("raise ImportError('uncommitted work')\n")
    before = git(repository, "status", "--porcelain")
    out = tmp_path / "out"
    code = ab.run(Asked(a="HEAD~1", b="main", subjects=NET, axes=AXES, out=out))
    printed = capsys.readouterr().out
    found = {one["figure"]: one for one in rows(out)}
    assert (found["flops"]["a"], found["flops"]["b"]) == ("2097152.0", "8388608.0")
    assert found["flops"]["verdict"] == "REGRESSED"
    assert found["time_s"]["verdict"] == "INCONCLUSIVE"  # of two pairs
    assert float(found["time_s"]["ratio"]) > 1.5
    assert code == 1
    assert "REGRESSED" in printed
    assert (out / "report.md").read_text().startswith("**")
    assert git(repository, "status", "--porcelain") == before
    assert len(git(repository, "worktree", "list").splitlines()) == 1
    stored = json.loads((out / "ab.json").read_text())
    assert stored["sides"]["A"]["commit"] == git(repository, "rev-parse", "HEAD~1")
    assert stored["proof"]["B"] == {NET[0]: "pkg/net.py"}
    assert not (out / ".scratch").exists()


@pytest.mark.slow
@pytest.mark.alone
def test_an_installed_package_that_both_sides_would_import_is_refused(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As an editable install does it: its folder is on the import path by its absolute name."""
    (repository / "lib").mkdir()
    git(repository, "mv", "pkg", "lib/pkg")
    git(repository, "commit", "--quiet", "-m", "moved")
    monkeypatch.setenv("PYTHONPATH", str(repository / "lib"))
    with pytest.raises(SideError) as caught:
        ab.run(Asked(a="HEAD", b=".", subjects=NET, axes=AXES, out=tmp_path / "out"))
    assert str(caught.value).startswith(
        f"HEAD: the subject was imported from {repository}/lib/pkg/net.py"
    )
    assert len(git(repository, "worktree", "list").splitlines()) == 1


@pytest.mark.slow
@pytest.mark.alone
def test_a_package_behind_the_subject_that_is_installed_is_refused(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `pip install .` does it: its files are copied to where it is imported from."""
    (repository / "python").mkdir()
    git(repository, "mv", "pkg", "python/pkg")
    (repository / "models.py").write_text("from pkg.net import Products\n")
    git(repository, "add", ".")
    git(repository, "commit", "--quiet", "-m", "moved")
    shutil.copytree(repository / "python/pkg", tmp_path / "site/pkg")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    asked = Asked(
        a="HEAD", b=".", subjects=("models:Products(8)",), axes=AXES, out=tmp_path / "out"
    )
    with pytest.raises(SideError, match=r"and not python/pkg/__init__\.py of the revision"):
        ab.run(asked)


@pytest.mark.slow
@pytest.mark.alone
def test_a_revision_that_does_not_import_is_one_line(repository: Path, tmp_path: Path) -> None:
    (repository / "pkg/net.py").write_text("import nothing_of_that_name\n")
    git(repository, "commit", "--quiet", "--all", "-m", "broken")
    with pytest.raises(AbError) as caught:
        ab.run(Asked(a="HEAD~1", b="HEAD", subjects=NET, axes=AXES, out=tmp_path / "out"))
    assert "side B (HEAD" in str(caught.value)
    assert "needs 'nothing_of_that_name', not installed" in str(caught.value)


@pytest.mark.slow
@pytest.mark.alone
def test_a_subject_that_one_revision_alone_has_costs_no_other(
    repository: Path, tmp_path: Path
) -> None:
    (repository / "pkg/new.py").write_text("from pkg.net import Products\n")
    git(repository, "add", ".")
    git(repository, "commit", "--quiet", "-m", "new")
    subjects = (*NET, "pkg.new:Products(8)")
    out = tmp_path / "out"
    assert ab.run(Asked(a="HEAD~1", b="HEAD", subjects=subjects, axes=AXES, out=out)) == 4
    (failed,) = [one for one in rows(out) if one["verdict"] == "FAILED"]
    assert failed["case_id"].startswith("pkg.new:Products(8):")
    assert "side A (HEAD~1" in failed["note"]
    assert "no module named 'pkg.new'" in failed["note"]
    assert "time_s" in {one["figure"] for one in rows(out)}


@pytest.mark.slow
@pytest.mark.alone
def test_a_side_that_fails_between_two_turns_is_a_failed_row(
    repository: Path, tmp_path: Path
) -> None:
    good = (repository / "pkg/net.py").read_text()
    (repository / "pkg/net.py").write_text(
        good.replace("class Products(", "class Other(").replace(
            "class FailsHalfway(Products", "class Products(Other"
        )
    )
    git(repository, "commit", "--quiet", "--all", "-m", "fails")
    out = tmp_path / "out"
    subject = ("pkg.net:Products(20000)",)
    (repository / "pkg/net.py").write_text(good)
    git(repository, "commit", "--quiet", "--all", "-m", "good again")
    text = (repository / "pkg/net.py").read_text().replace("range(4 * self.count", "range(1")
    (repository / "pkg/net.py").write_text(text)
    code = ab.run(Asked(a=".", b="HEAD~1", subjects=subject, axes=AXES, out=out))
    (only,) = rows(out)
    assert code == 4
    assert only["verdict"] == "FAILED"
    assert "side B: error: ValueError: halfway" in only["note"]
    assert list((out / "failures/B").iterdir())


@pytest.mark.slow
@pytest.mark.alone
def test_a_revision_that_is_fast_and_wrong_fails(repository: Path, tmp_path: Path) -> None:
    good = (repository / "pkg/net.py").read_text()
    honest = good.replace("class Products(", "class Honest(").replace("(Products)", "(Honest)")
    lying = honest.replace("class LiesUnderAutocast(", "class Products(")
    (repository / "pkg/net.py").write_text(lying)
    out, axes = tmp_path / "out", {**AXES, "amp": ("bfloat16",)}
    assert ab.run(Asked(a="HEAD", b=".", subjects=NET, axes=axes, out=out)) == 4
    (only,) = rows(out)
    assert only["verdict"] == "FAILED"
    assert only["note"].startswith("side B: invalid: ")
    pair, null, a, b = map(json.loads, (out / "pairs.jsonl").read_text().splitlines())
    assert (pair["failed"], null["null"]) == ({}, True)  # first the pair, then the truth
    assert (a["invalid"], b["side"], bool(b["invalid"])) == (None, "B", True)


@pytest.mark.slow
@pytest.mark.alone
def test_a_setting_that_is_fast_and_wrong_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduler.Pairs, "_most", few)
    subject, out = ("tests.subjects.ab_subjects:LiesUnderAutocast(8)",), tmp_path / "out"
    asked = Asked(a="amp=off", b="amp=bfloat16", subjects=subject, axes=AXES, out=out)
    assert ab.run(asked) == 4
    (only,) = rows(out)
    assert only["note"].startswith("side B: invalid: ")


@pytest.mark.slow
@pytest.mark.alone
def test_nothing_is_believed_of_a_working_tree_that_was_edited_meanwhile(
    repository: Path, tmp_path: Path
) -> None:
    text = (repository / "pkg/net.py").read_text()
    edits = "    def forward(self, x: Tensor) -> Tensor:  # (N, 128)\n"
    assert edits in text
    edited = text.replace(edits, f"{edits}        open(__file__, 'a').write('# later\\n')\n", 1)
    (repository / "pkg/net.py").write_text(edited)
    out = tmp_path / "out"
    assert ab.run(Asked(a="HEAD", b=".", subjects=NET, axes=AXES, out=out)) == 0
    (time,) = [one for one in rows(out) if one["figure"] == "time_s"]
    assert time["verdict"] == "UNTRUSTED"
    assert time["note"] == "pkg.net was edited during the run: the results may mix two versions"


@pytest.mark.slow
@pytest.mark.alone
def test_an_interrupted_comparison_says_how_to_go_on_and_does(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    kept = scheduler.Pairs._compare

    def interrupt(self: scheduler.Pairs, *given: Any, **more: Any) -> None:
        if len(self.seen.pairs) >= 2:
            raise KeyboardInterrupt
        kept(self, *given, **more)

    monkeypatch.setattr(scheduler.Pairs, "_compare", interrupt)
    asked = Asked(a="main~1", b="main~1", subjects=NET, axes=AXES, out=out)
    assert ab.run(asked) == 130
    assert len(git(repository, "worktree", "list").splitlines()) == 1
    half = (out / "pairs.jsonl").read_text()
    monkeypatch.setattr(scheduler.Pairs, "_compare", kept)
    assert ab.run(Asked(resume=out)) == code_of(out)
    whole = (out / "pairs.jsonl").read_text()
    assert whole.startswith(half)
    assert len(whole) > len(half)


@pytest.mark.slow
@pytest.mark.alone
def test_settings_and_interpreters_take_the_same_way_from_the_command_line(tmp_path: Path) -> None:
    for side, threads in ((f"python={sys.executable}", ["--threads", "1"]), ("threads=1", [])):
        out = tmp_path / side.partition("=")[0]
        done = subprocess.run(
            [sys.executable, "-m", "bench", "ab", side, side, "--subject", "torch.nn:ReLU",
             "--input", "16", "--mode", "inference", *threads, "--out", str(out), "--budget", "1"],
            cwd=SUBJECTS.parents[1], capture_output=True, encoding="utf-8", check=False,
            env={**os.environ, "GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md")},
        )  # fmt: skip
        assert done.returncode == code_of(out), done.stderr
        assert f"A: {side}; B: {side}; 1 case from flags, about 0:01" in done.stdout
        assert f"to measure the rest: bench ab --resume {out}" in done.stdout
    assert "ReLU" in (tmp_path / "summary.md").read_text()
