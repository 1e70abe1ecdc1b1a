"""The glossary holds: its forbidden words name nothing, its forbidden phrases are not written."""

import ast
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import pytest

from bench.core.records import FLAGS, STATUSES
from bench.verdict import report
from tests.support.paths import ROOT

GLOSSARY = ROOT / "docs" / "glossary.md"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
MODULES = sorted((ROOT / "bench").rglob("*.py"))

# Packages with docstrings in plain English.  Add a package here once its docstrings are mended.
PLAIN_PACKAGES = (
    "ab",
    "bisect",
    "commands",
    "compare",
    "core",
    "host",
    "html",
    "insights",
    "plan",
    "plots",
    "results",
    "selftest",
    "stats",
    "terminal",
    "verdict",
    "engine",
    "history",
    "explain",
    "worker",
    "tune",
    "api",
    "fixtures",
)

# Names that still have a forbidden word, by word.  Take a name out when it is renamed; a name that
# is gone is only a warning, so that renames on several branches can be merged in any order.
STILL_THERE: Mapping[str, frozenset[str]] = {
    "gain": frozenset({"gain"}),  # the file name of the plot
    "traffic": frozenset({"traffic"}),  # a key of run.json
}


def _table(heading: str) -> list[str]:
    """The first cells of the table that follows the paragraph with this text."""
    _, found, rest = GLOSSARY.read_text(encoding="utf-8").partition(heading)
    assert found, f"the glossary has no paragraph {heading!r}"
    table = re.search(r"(?:^\|.*\n)+", rest, flags=re.MULTILINE)
    assert table is not None
    return [row.split("|")[1].strip() for row in table[0].splitlines()[2:]]


WORDS = frozenset(
    word for cell in _table("No name in `bench/`") for word in re.findall(r"`(\w+)`", cell)
)
PHRASES = tuple(_table("No page and no docstring"))


def _words(name: str) -> list[str]:
    """`_run_onceAgain` → run, once, again."""
    return [part.lower() for part in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)]


def _names(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.arg(arg=name):
                yield name
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield name
            case ast.ClassDef(name=name):
                yield name
            case ast.keyword(arg=str(name)):
                yield name
            case ast.alias(name=name, asname=other):
                yield from name.split(".")
                if other:
                    yield other


def _forbidden(path: Path) -> set[tuple[str, str]]:
    """The (word, name) pairs of a module, its own name and those of its folders included."""
    names = {*_names(ast.parse(path.read_text(encoding="utf-8")))}
    names |= {*path.relative_to(ROOT).with_suffix("").parts}
    return {(word, name) for name in names for word in _words(name) if word in WORDS}


def _prose(text: str) -> str:
    """A page without its code, on one line."""
    without_blocks = re.sub(r"^ *```.*?^ *```", "", text, flags=re.MULTILINE | re.DOTALL)
    return " ".join(re.sub(r"`[^`\n]*`", "", without_blocks).split())


def _docstrings(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield ast.get_docstring(node) or ""


def _sentences(docstring: str) -> list[str]:
    paragraphs = [" ".join(one.split()) for one in docstring.split("\n\n")]
    return [one for part in paragraphs for one in re.split(r"(?<=[.?!:])\s+", part) if one]


def _phrases_in(prose: str) -> list[str]:
    return [one for one in PHRASES if re.search(rf"\b{re.escape(one)}\b", prose, re.IGNORECASE)]


def _is_mended(path: Path) -> bool:
    return path.relative_to(ROOT / "bench").parts[0] in PLAIN_PACKAGES


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_uses_no_word_that_the_glossary_forbids(path: Path) -> None:
    new = {pair for pair in _forbidden(path) if pair[1] not in STILL_THERE.get(pair[0], ())}
    assert new == set(), "docs/glossary.md says which word to use in its place"


def test_the_list_of_names_to_be_changed_holds_forbidden_words_alone() -> None:
    for word, names in STILL_THERE.items():
        assert word in WORDS
        for name in names:
            assert word in _words(name), f"{name} does not have the word {word}"
    left = {pair for path in MODULES for pair in _forbidden(path)}
    listed = {(word, name) for word, names in STILL_THERE.items() for name in names}
    if gone := sorted(name for _, name in listed - left):
        warnings.warn(f"take out of STILL_THERE what is renamed: {', '.join(gone)}", stacklevel=1)


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("arena = 1", {"arena"}),
        ("class OpenArena: ...", {"OpenArena"}),
        ("def f(most_gains): ...", {"most_gains"}),
        ("x.find_facts()", {"find_facts"}),
        ("f(player=1)", {"player"}),
        ("from bench import judge as other", {"judge"}),
        ("again = against = 'arena'", set()),
        ('"""An arena."""', set()),
    ],
)
def test_a_word_is_found_inside_a_name_and_not_inside_another_word(
    code: str, found: set[str]
) -> None:
    names = {name for name in _names(ast.parse(code)) if WORDS.intersection(_words(name))}
    assert names == found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_has_no_phrase_that_the_glossary_forbids(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    if page == GLOSSARY:
        text = text.partition("## Do not use")[0]
    assert _phrases_in(_prose(text)) == []


@pytest.mark.parametrize(
    "path",
    [one for one in MODULES if _is_mended(one)],
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_docstrings_of_the_mended_packages_are_plain(path: Path) -> None:
    """A sentence starts with its subject, and no forbidden phrase is used."""
    for docstring in _docstrings(path):
        assert _phrases_in(_prose(docstring)) == [], docstring
        for sentence in _sentences(docstring):
            starts = re.match(r"(?:What|Who|That)\b", sentence)
            assert starts is None or sentence.endswith("?"), sentence


def test_a_sentence_that_begins_with_what_is_seen_anywhere_in_a_docstring() -> None:
    text = "Times.  What is\n  measured counts.\n\nWhat does it cost?"
    assert _sentences(text) == ["Times.", "What is measured counts.", "What does it cost?"]


def _terms() -> list[str]:
    text = GLOSSARY.read_text(encoding="utf-8").partition("## Do not use")[0]
    cells = re.findall(r"^\| (?:\*\*(.+?)\*\*|([A-Z, ]+)) \|", text, re.MULTILINE)
    return [term for pair in cells for term in "".join(pair).split(", ")]


def test_the_glossary_explains_each_of_its_words_in_one_place() -> None:
    terms = _terms()
    assert len(terms) > 70
    assert sorted(terms) == sorted(set(terms))


@pytest.mark.parametrize("known", [STATUSES, FLAGS, report.WORST_FIRST])
def test_the_glossary_explains_every_status_flag_and_verdict(known: Iterable[str]) -> None:
    assert {*known} - {*_terms()} == set()
