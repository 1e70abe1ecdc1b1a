"""The project's own files say the same: versions, licence, what may be installed with what."""

import re
import tomllib
from typing import Any

import pytest

from tests.support.paths import ROOT

PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
CHANGES = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def normal(name: str) -> str:
    """As package indexes compare names (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def pinned() -> dict[str, str]:
    """Of constraints.txt: package → version."""
    lines = [one for one in read("constraints.txt").splitlines() if not one.startswith("#")]
    return {normal(name): version for name, version in (one.split("==") for one in lines)}


def test_every_direct_dependency_is_pinned() -> None:
    extras = PROJECT["project"]["optional-dependencies"].values()
    asked = [*PROJECT["project"]["dependencies"], *(one for extra in extras for one in extra)]
    names = {normal(re.split(r"[\[>=<~! ]", one)[0]) for one in asked}
    assert names - pinned().keys() == set()


def test_no_package_is_pinned_twice() -> None:
    lines = [one for one in read("constraints.txt").splitlines() if not one.startswith("#")]
    assert len(lines) == len(pinned())


def test_pre_commit_checks_with_the_versions_of_the_lint_session() -> None:
    used = re.findall(r'"([\w-]+)==([\d.]+)"', read(".pre-commit-config.yaml"))
    assert {name for name, _ in used} == {"ruff", "typos"}
    assert {pinned()[name] == version for name, version in used} == {True}


def test_version_and_licence_are_the_same_wherever_they_stand() -> None:
    citation = read("CITATION.cff")
    released = re.findall(r"^## \[(\d[\d.]*)\]", read("CHANGELOG.md"), flags=re.MULTILINE)
    assert f"\nversion: {released[0]}\n" in citation
    assert "version" in PROJECT["project"]["dynamic"]  # it comes from the tag
    assert PROJECT["project"]["license"] == "Apache-2.0"
    assert "\nlicense: Apache-2.0\n" in citation
    assert read("LICENSE").split()[:4] == ["Apache", "License", "Version", "2.0,"]
    assert "END OF TERMS AND CONDITIONS" in read("LICENSE")


def test_the_pythons_that_are_named_are_the_pythons_that_are_tested() -> None:
    named = re.findall(r"Python :: (3\.\d+)", " ".join(PROJECT["project"]["classifiers"]))
    matrix = re.search(r"python: \[(.*)\]", read(".github/workflows/tests.yml"))
    assert matrix is not None
    assert re.findall(r'"(.*?)"', matrix[1]) == named
    assert PROJECT["project"]["requires-python"] == f">={named[0]}"


@pytest.mark.parametrize("package", ["bench", "convnet"])
def test_a_package_tells_type_checkers_that_it_has_types(package: str) -> None:
    assert (ROOT / package / "py.typed").exists()
    assert "py.typed" in PROJECT["tool"]["setuptools"]["package-data"][package]


def test_the_changelog_begins_with_what_is_unreleased_and_sorts_by_kind() -> None:
    headings = re.findall(r"^(##+) (.*)$", read("CHANGELOG.md"), flags=re.MULTILINE)
    assert headings[0] == ("##", "[Unreleased]")
    versions = [text for level, text in headings[1:] if level == "##"]
    assert [one for one in versions if not re.fullmatch(r"\[\d+\.\d+\.\d+\] - \S+", one)] == []
    assert {text for level, text in headings if level == "###"} <= CHANGES
