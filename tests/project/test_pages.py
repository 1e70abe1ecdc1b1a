"""The pages of the documentation that are made from the code, and the tutorials."""

import shutil
from pathlib import Path

import pytest

from bench.core.axes import AXES
from tests.support.paths import ROOT
from tools import pages, tutorials

PAGES = sorted((ROOT / "docs" / "tutorials").glob("*.md"))


def test_every_command_and_axis_has_its_place() -> None:
    text = pages.commands()
    for name in ("run", "tune", "ab", "profile", "history", "bisect", "merge"):
        assert f"\n## {name}\n" in text
    for axis in AXES:
        assert f"| `{axis.flag}` |" in text


def test_angle_brackets_are_escaped_outside_of_code_alone() -> None:
    text = pages.commands()
    assert "[default: results/&lt;time>-ab-…]" in text
    assert "10:int64<1000'`" in text


def test_every_key_of_the_toml_file_has_a_meaning() -> None:
    rows = [line for line in pages.toml_keys().splitlines() if line.startswith("| `")]
    assert len(rows) > 25
    assert [row for row in rows if row.rstrip().endswith("|  |")] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_tutorial_shows_no_command_without_its_output(page: Path) -> None:
    shown = [one for one in tutorials.blocks(page.read_text("utf-8")) if one.info == "console"]
    for block in shown:
        assert len(block.body.splitlines()) > len(block.commands), block.commands


@pytest.mark.slow
def test_files_commits_and_commands_of_a_page_run_in_order(tmp_path: Path) -> None:
    page = (
        '<!-- commit: One -->\n```text title="a.txt"\nhello\n```\n\n'
        "<!-- last: 1 -->\n```console\n$ cat a.txt && git log --format=%s\nold output\n```\n\n"
        "<!-- exit: 3 -->\n```console\n$ exit 3\n```\n"
    )
    made = tutorials.run(page, tmp_path)
    assert "```console\n$ cat a.txt && git log --format=%s\n…\nOne\n```" in made
    assert "old output" not in made
    assert shutil.which("git")


@pytest.mark.slow
def test_a_command_that_fails_stops_the_page(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="false: exit code 1"):
        tutorials.run("```console\n$ false\n```\n", tmp_path)
