"""The tests fail where the timer is broken: each mutation, alone, turns them red."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mutations import MUTATIONS, Mutation

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
TESTS_FAILED = 1  # pytest's exit code; 2 to 5 mean that it did not come so far


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The project beside itself, to be broken."""
    folder = tmp_path_factory.mktemp("mutants")
    for part in ("bench", "convnet", "tests"):
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    yield folder
    shutil.rmtree(folder)


def run(copy: Path, *tests: str) -> subprocess.CompletedProcess[str]:
    """The tests, on the copy: an installed project stands behind it on the path."""
    options = ("-x", "-q", "-m", "not slow", "-p", "no:cacheprovider")
    return subprocess.run(
        [sys.executable, "-m", "pytest", *options, *tests],
        cwd=copy,
        env={**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_copy_is_green_as_long_as_nothing_is_broken(copy: Path) -> None:
    every = sorted({test for one in MUTATIONS for test in one.tests})
    done = run(copy, *every)
    assert done.returncode == 0, done.stdout[-2000:]


def test_it_is_the_copy_that_is_tested(copy: Path) -> None:
    target = copy / "bench" / "precision.py"
    text = target.read_text(encoding="utf-8")
    try:
        target.write_text("raise ImportError('the copy')\n", encoding="utf-8")
        done = run(copy, "tests/test_precision.py")
    finally:
        target.write_text(text, encoding="utf-8")
    assert "the copy" in done.stdout


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda one: one.name)
def test_a_broken_line_turns_the_tests_red(copy: Path, mutation: Mutation) -> None:
    target = copy / mutation.file
    text = target.read_text(encoding="utf-8")
    assert text.count(mutation.old) == 1, "the line that is to be broken has moved"
    try:
        target.write_text(text.replace(mutation.old, mutation.new), encoding="utf-8")
        done = run(copy, *mutation.tests)
    finally:
        target.write_text(text, encoding="utf-8")
    assert done.returncode == TESTS_FAILED, done.stdout[-2000:]
