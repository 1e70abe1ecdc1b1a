"""The command `bench history` on a store and the repository that it belongs to."""

from pathlib import Path

import pytest

from bench.commands import history
from bench.history import blessed
from tests.support.cases import PLAIN
from tests.support.git import git
from tests.support.history import write_run

pytestmark = pytest.mark.slow


def commit(folder: Path, message: str) -> str:
    git(folder, "commit", "--quiet", "--allow-empty", "-m", message)
    return git(folder, "rev-parse", "HEAD")


def test_a_level_that_was_accepted_on_a_branch_holds_after_the_merge_and_a_lost_one_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    git(tmp_path, "init", "--quiet", "-b", "main")
    line = [commit(tmp_path, f"{number}") for number in range(8)]
    git(tmp_path, "checkout", "--quiet", "-b", "side")
    aside = commit(tmp_path, "aside")
    git(tmp_path, "checkout", "--quiet", "main")
    git(tmp_path, "merge", "--quiet", "--no-ff", "-m", "merged", "side")
    line += [git(tmp_path, "rev-parse", "HEAD")]
    line += [commit(tmp_path, f"later {number}") for number in range(7)]
    for number, name in enumerate(line):
        time_s = (0.1 if number < 8 else 0.12) * (1 + 0.001 * (number % 3))
        write_run(tmp_path / "store" / f"{number:02}", name, {PLAIN: time_s})
    asked = history.Asked(runs=(Path("store"),), strict=True)
    assert history.run(asked) == 1
    assert "1 series is slower" in capsys.readouterr().out

    (tmp_path / blessed.FILE).write_text(
        f'[[blessed]]\ncase = "*"\nat = "{aside}"\nwhy = "more work"\n'
        '[[blessed]]\ncase = "*"\nat = "v9"\nwhy = "lost"\n'
    )
    assert history.run(asked) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "since it was blessed" in out
    assert "note: the blessing of * at v9 is not used: v9: the repository has no such" in out
