"""The torch that the session `oldest_torch` installs, and the tests that it runs."""

from pathlib import Path

import pytest

import noxfile
from tests.support.paths import ROOT


@pytest.mark.parametrize(
    ("bound", "oldest"), [("torch>=2.11", "torch==2.11.*"), ("torch>=3.0.1", "torch==3.0.1.*")]
)
def test_the_oldest_torch_is_the_one_that_the_project_allows(
    tmp_path: Path, bound: str, oldest: str
) -> None:
    project = tmp_path / "pyproject.toml"
    project.write_text(f'[project]\ndependencies = ["torchvision>=1", "{bound}", "rich>=13"]\n')
    assert noxfile.oldest("torch", project) == oldest


def test_all_but_torch_stays_pinned() -> None:
    given = "# tested\nrich==14.0\ntorch==2.13.0\ntorchvision==0.28\n"
    assert noxfile.without("torch", given) == "# tested\nrich==14.0\ntorchvision==0.28\n"


def test_the_tests_that_another_torch_runs_are_there() -> None:
    assert [name for name in noxfile.TORCH_TESTS if not (ROOT / name).is_file()] == []


def test_each_module_with_a_private_name_of_torch_has_its_tests_run() -> None:
    """By path: tests/worker/metrics/test_flops.py for bench/worker/metrics/flops.py."""
    own = {
        f"tests/{path.parent.relative_to(ROOT / 'bench')}/test_{path.stem}.py"
        for path in (ROOT / "bench" / "worker").rglob("*.py")
        if "torch_private." in path.read_text(encoding="utf-8")
    }
    there = {name for name in own if (ROOT / name).is_file()}
    assert {
        "tests/worker/metrics/test_flops.py",
        "tests/worker/process/test_forks.py",
        "tests/worker/metrics/test_peak_memory.py",
    } <= there
    assert there - set(noxfile.TORCH_TESTS) == set()
