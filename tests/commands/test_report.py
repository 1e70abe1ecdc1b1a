"""The page of a store: its findings come first, in the repository that it belongs to."""

import dataclasses
import subprocess
from pathlib import Path

import pytest

from bench.commands import report
from bench.results import profile_parts
from tests.explain.sides import PLAIN as PARTS
from tests.explain.sides import side
from tests.support.cases import PLAIN, case
from tests.support.history import write_run
from tests.support.results import replicates, run_of

pytestmark = pytest.mark.slow


def repository(folder: Path, count: int) -> list[str]:
    names = ("-c", "user.name=a", "-c", "user.email=a@example.org")

    def git(*arguments: str) -> str:
        done = subprocess.run(
            ["git", *names, *arguments], cwd=folder, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    git("init", "--quiet")
    found = []
    for number in range(count):
        git("commit", "--quiet", "--allow-empty", "-m", f"change {number}")
        found.append(git("rev-parse", "HEAD"))
    return found


def test_the_page_of_a_store_begins_with_what_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for number, name in enumerate(repository(tmp_path, 20)):
        seconds = 0.1 * (1 + 0.001 * (number % 3)) * (1.2 if number >= 10 else 1.0)
        write_run(tmp_path / "store" / "m1" / f"run{number:02}", name, {PLAIN: seconds})
    (tmp_path / "store" / "m1" / "open").mkdir()
    (tmp_path / "store" / "m1" / "open" / "run.json").write_text("{}")
    assert report.report([Path("store")], Path("page")) == 0
    html = Path("page/report.html").read_text(encoding="utf-8")
    assert "<h1>1 series is slower.</h1>" in html
    assert html.index("suspect: convnet inference N=8 is 20.0") < html.index("<svg")
    assert html.count('<svg class="history"') == 1
    assert "bench ab " in html


def test_runs_outside_a_repository_have_a_table_and_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for number in range(3):
        write_run(tmp_path / f"run{number}", f"{number:040x}", {PLAIN: 0.1})
    runs = [Path(f"run{number}") for number in range(3)]
    assert report.report(runs, Path("page")) == 0
    html = Path("page/report.html").read_text(encoding="utf-8")
    assert "No history over the commits: HEAD: its commits cannot be listed" in html
    assert "Every run in numbers" in html


def test_variants_of_other_batch_sizes_are_explained_on_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run_of(tmp_path / "run", replicates(PLAIN, [0.01] * 5))
    for name, batch in (("A", 8), ("B", 16)):
        folder = tmp_path / "why" / name / "0"
        folder.mkdir(parents=True)
        (folder / "profile.json").write_text("{}")
        profile_parts.write(folder, dataclasses.replace(side(PARTS), case=case(batch=batch)))
    assert report.report([Path("run"), Path("why")], Path("page")) == 0
    assert '<section id="why">' in Path("page/report.html").read_text(encoding="utf-8")
