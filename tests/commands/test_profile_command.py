"""What `bench profile` says of its plan, and how it ends, without a process."""

import io
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from bench.commands import profile, profile_pair, provenance
from bench.commands.profile import exit_code
from bench.core.records import Failure, Status
from bench.explain.explanation import explain
from bench.plan import expand
from bench.results.run_directory import RunDir
from tests.ab.test_decision import planned
from tests.explain.sides import PLAIN, side
from tests.support.cases import case


def test_what_a_run_says_of_its_plan_a_profile_says_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = expand.Plan((), (), guessed={"m:net": "3,224,224"})
    monkeypatch.setattr(provenance, "look", lambda _: SimpleNamespace(torch="2.13"))
    monkeypatch.setattr(expand, "make", lambda *_: plan)
    monkeypatch.setattr(profile, "_begin", lambda *_: RunDir(tmp_path))
    profile.run(profile.Asked())
    printed = " ".join(capsys.readouterr().out.split())
    assert "note: the input of m:net is guessed 3,224,224; --input says otherwise" in printed


@pytest.mark.parametrize(
    ("profiled", "status", "code"),
    [(2, None, 0), (2, "unsupported", 0), (2, "oom", 0), (2, "crash", 4), (0, "unsupported", 4)],
)
def test_a_setting_that_cannot_run_here_is_no_failure_beside_cases_that_ran(
    profiled: int, status: Status | None, code: int
) -> None:
    assert exit_code(profiled, [failed(status)] if status else []) == code


def failed(status: Status) -> Failure:
    return Failure(case=case(), replicate=0, status=status, reason="side B: no such kernel")


def ended(folder: Path, *failures: Failure) -> int:
    found = [explain(side(PLAIN), side(PLAIN))]
    return profile_pair._end(found, failures, planned(()), folder, Console(file=io.StringIO()))


def test_two_variants_have_the_exit_codes_of_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    assert ended(tmp_path, failed("unsupported")) == 0
    assert ended(tmp_path, failed("crash")) == 4


def test_the_report_names_the_cases_without_a_profile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GITHUB_STEP_SUMMARY", raising=False)
    ended(tmp_path, failed("crash"))
    report = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "Without a profile:\n\n- convnet:inference:" in report
    assert "crash: side B: no such kernel" in report
