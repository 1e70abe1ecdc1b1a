"""The pages tell the truth: what they name exists, links lead somewhere, no rule is left out."""

import ast
import re
from pathlib import Path

import pytest
from typer.main import get_command

from bench.cli import app

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / "results" / "README.md"])
RULES = [str(number) for number in range(1, 35)] + ["17b", "17c", "33b"]


def functions_in(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {one.name for one in ast.walk(tree) if isinstance(one, ast.FunctionDef)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_test_that_a_page_names_exists(page: Path) -> None:
    for file, name in re.findall(r"(tests/\w+\.py)::(\w+)", page.read_text(encoding="utf-8")):
        assert name in functions_in(ROOT / file), f"{page.name}: {file}::{name}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).exists(), f"{page.name}: {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_file_that_a_page_names_exists(page: Path) -> None:
    named = re.findall(
        r"`((?:bench|tests|docs|convnet)/[\w/]+\.(?:py|c|md|toml))`", page.read_text()
    )
    for target in named:
        assert (ROOT / target).exists(), f"{page.name}: {target}"


def test_every_rule_has_a_row_that_names_a_test() -> None:
    text = (ROOT / "docs" / "trust.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| (\d+[a-c]?) \|(.*)\|$", text, flags=re.MULTILINE))
    assert sorted(rows) == sorted(RULES)
    for rule, row in rows.items():
        assert "::test_" in row, f"rule {rule} names no test"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_and_flag_that_a_page_shows_exists(page: Path) -> None:
    commands = get_command(app).commands  # type: ignore[attr-defined]
    shown = re.findall(r"^(?:\$ )?bench (\w+)([^\n#]*)", page.read_text(), flags=re.MULTILINE)
    for name, rest in shown:
        assert name in commands, f"{page.name}: bench {name}"
        known = {flag for one in commands[name].params for flag in one.opts}
        for flag in re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", rest):
            assert flag in known, f"{page.name}: bench {name} {flag}"
