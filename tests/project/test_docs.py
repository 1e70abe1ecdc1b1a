"""The pages tell the truth: what they name exists, links lead somewhere, no rule is left out."""

import ast
import re
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from bench.cli import app
from tests.support.paths import ROOT
from tools.pages import pages

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "results" / "README.md"])
RULES = [str(number) for number in range(1, 35)] + ["17b", "17c", "33b", "33c"]
BENCH: Any = get_command(app)
COMMANDS: dict[str, Any] = BENCH.commands
FLAGS = {
    flag
    for one in (BENCH, *COMMANDS.values())
    for parameter in one.params
    for flag in (*parameter.opts, *parameter.secondary_opts)
}
# pytest-benchmark's, nox's, and those of the scripts in experiments
OTHERS = {
    "--benchmark-autosave",
    "--benchmark-compare",
    "--benchmark-disable",
    "--benchmark-json",
    "--benchmark-save",
    "--no-venv",
} | {
    flag
    for script in (ROOT / "experiments").glob("*.py")
    for flag in re.findall(r'add_argument\("(--[a-z-]+)"', script.read_text(encoding="utf-8"))
}

NAMED_TEST = r"(tests/[\w/]+\.py)::(\w+)"
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def text(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def code(page: str) -> list[str]:
    """The lines of code blocks, and what stands between backticks."""
    blocks = re.findall(r"^ *```\w*\n(.*?)^ *```", page, flags=re.MULTILINE | re.DOTALL)
    spans = re.findall(r"(?<!`)`([^`\n]+)`(?!`)", page)
    return [line.strip() for block in blocks for line in block.splitlines()] + spans


def commands(page: Path) -> list[tuple[str, list[str]]]:
    """Every `bench COMMAND` that a page shows, with its flags."""
    return commands_of(text(page))


def commands_of(page: str) -> list[tuple[str, list[str]]]:
    """The same for the text of a page, or a part of it."""
    found = [
        re.match(r"(?:\$ |- run: )?bench ([a-z]\w*)(?![\w.:-])([^#]*)", one) for one in code(page)
    ]
    return [(one[1], flags(one[2])) for one in found if one]


def flags(words: str) -> list[str]:
    return re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", words)


def functions_in(path: Path) -> set[str]:
    tree = ast.parse(text(path))
    return {one.name for one in ast.walk(tree) if isinstance(one, ast.FunctionDef)}


@each_page
def test_every_test_that_a_page_names_exists(page: Path) -> None:
    for file, name in re.findall(NAMED_TEST, text(page)):
        assert name in functions_in(ROOT / file), f"{page.name}: {file}::{name}"


@each_page
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text(page)):
        there = (page.parent / target).resolve()
        assert there.exists() or made(there), f"{page.name}: {target}"


def made(page: Path) -> bool:
    """Return whether the site has a page that is made from the code."""
    docs = ROOT / "docs"
    return page.is_relative_to(docs) and str(page.relative_to(docs)) in pages()


def slug(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@each_page
def test_every_link_to_a_heading_finds_it(page: Path) -> None:
    for target, anchor in re.findall(r"\]\(([^)#:]*)#([^)]+)\)", text(page)):
        there = text(page.parent / target if target else page)
        headings = re.findall(r"^#+ (.*)$", there, flags=re.MULTILINE)
        assert anchor in map(slug, headings), f"{page.name}: {target}#{anchor}"


@each_page
def test_every_file_that_a_page_names_exists(page: Path) -> None:
    named = re.findall(r"`((?:bench|tests|docs|convnet)/[\w/]+\.(?:py|c|md|toml))`", text(page))
    for target in named:
        assert (ROOT / target).exists(), f"{page.name}: {target}"


def test_every_rule_has_a_row_that_names_a_test() -> None:
    page = text(ROOT / "docs" / "trust.md")
    rows = re.findall(r"^\| (\d+[a-c]?) \|(.*)\|$", page, flags=re.MULTILINE)
    assert sorted(rule for rule, _ in rows) == sorted(RULES)
    for rule, row in rows:
        assert "::test_" in row, f"rule {rule} names no test"


@each_page
def test_every_command_and_flag_that_a_page_shows_exists(page: Path) -> None:
    for name, given in commands(page):
        assert name in COMMANDS, f"{page.name}: bench {name}"
        known = {
            flag
            for parameter in COMMANDS[name].params
            for flag in (*parameter.opts, *parameter.secondary_opts)
        }
        for flag in given:
            assert flag in known, f"{page.name}: bench {name} {flag}"


@each_page
def test_every_flag_that_a_page_names_by_itself_exists(page: Path) -> None:
    for span in code(text(page)):
        if span.startswith("--"):
            for flag in flags(span):
                assert flag in FLAGS | OTHERS, f"{page.name}: {flag}"


@pytest.mark.parametrize(
    ("page", "heading"), [("docs/tutorials/gate.md", "# Gate"), ("docs/ci.md", "## A pull request")]
)
def test_the_fast_gate_and_its_time_stand_where_a_newcomer_begins(page: str, heading: str) -> None:
    first = text(ROOT / page).partition(heading)[2].partition("```")[0]
    given = [one for name, one in commands_of(first) if name == "ab" and one]
    assert given == [["--subject", "--input", "--batch", "--mode"]]
    assert re.search(r"The fast gate.*about 20 s if nothing is slower", first, re.DOTALL)


def test_what_a_page_shows_is_found() -> None:
    """Else the tests above would hold whatever the pages say."""
    assert len(re.findall(NAMED_TEST, text(ROOT / "docs" / "trust.md"))) > len(RULES)
    shown = commands(ROOT / "README.md")
    assert {"run", "tune", "compare", "check", "ab", "selftest"} <= {name for name, _ in shown}
    assert ["--by"] in [given for _, given in shown]
