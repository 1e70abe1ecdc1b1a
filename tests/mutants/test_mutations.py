"""The tests fail where the timer is broken: each mutation, alone, turns them red."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import pytest

from tests.mutants.mutations import MUTATIONS, Mutation

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PASSED, FAILED = 0, 1  # pytest's exit codes; 2 to 5 mean that it did not come so far
TORN = ("SyntaxError", "NameError", "IndentationError", "ModuleNotFoundError")


@dataclass(frozen=True, slots=True)
class Copy:
    """The project beside itself, to be broken, and who runs its tests."""

    folder: Path
    log: Path
    asks: IO[str]
    answers: IO[str]

    def run(self, *tests: str) -> tuple[int, str]:
        """pytest's exit code, and what it printed."""
        self.asks.write(json.dumps(tests) + "\n")
        self.asks.flush()
        code = int(self.answers.readline())
        return code, self.log.read_text(encoding="utf-8", errors="replace")

    def run_with(self, file: str, text: str, *tests: str) -> tuple[int, str]:
        """The same while `file` has another text."""
        target = self.folder / file
        whole = target.read_text(encoding="utf-8")
        try:
            target.write_text(text, encoding="utf-8")
            return self.run(*tests)
        finally:
            target.write_text(whole, encoding="utf-8")


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Copy]:
    folder = tmp_path_factory.mktemp("mutants")
    # Some tests read the run that ships as an example.
    for part in ("bench", "convnet", "experiments", "tests", "results/example"):
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    for part in ("convnet_bench.py", "pyproject.toml"):
        shutil.copy(ROOT / part, folder)
    log = folder / "log"
    # An installed project stands behind the copy on the path; compiled modules are never kept,
    # since two texts of one size and second would pass for one.
    environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    with subprocess.Popen(
        [sys.executable, "-m", "tests.mutants.forked_pytest", str(log)],
        cwd=folder,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield Copy(folder, log, process.stdin, process.stdout)
        process.stdin.close()
    shutil.rmtree(folder)


def test_the_copy_is_green_as_long_as_nothing_is_broken(copy: Copy) -> None:
    files = {test.partition("::")[0] for one in MUTATIONS for test in one.tests}
    code, printed = copy.run(*sorted(files))
    assert code == PASSED, printed[-2000:]


def test_it_is_the_copy_that_is_tested(copy: Copy) -> None:
    text = "raise ImportError('the copy')\n"
    _, printed = copy.run_with("bench/stats/intervals.py", text, "tests/stats/test_intervals.py")
    assert "the copy" in printed


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda one: one.name)
def test_a_broken_line_turns_the_tests_red(copy: Copy, mutation: Mutation) -> None:
    text = (copy.folder / mutation.file).read_text(encoding="utf-8")
    assert text.count(mutation.old) == 1, "the line that is to be broken has moved"
    code, printed = copy.run_with(
        mutation.file, text.replace(mutation.old, mutation.new), *mutation.tests
    )
    assert code == FAILED, printed[-2000:]
    assert not any(f"E   {error}" in printed for error in TORN), printed[-2000:]
