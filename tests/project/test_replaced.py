"""Another distribution has a package `bench` as well; the command says so in one line."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import convnet_bench
from tests.support.paths import ROOT

START = "import sys; sys.path.insert(0, {!r}); import convnet_bench; convnet_bench.main()"


def call(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", "-c", START.format(str(folder)), "--version"]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_package_of_this_checkout_is_ours() -> None:
    assert convnet_bench.replaced_by() is None


@pytest.mark.slow
def test_files_of_another_bench_are_told_in_one_line(tmp_path: Path) -> None:
    shutil.copy(ROOT / "convnet_bench.py", tmp_path)
    (tmp_path / "bench").mkdir()
    (tmp_path / "bench" / "__init__.py").write_text("VERSION = '5.0'\n")
    record = tmp_path / "frappe_bench-5.0.dist-info"
    record.mkdir()
    (record / "METADATA").write_text("Metadata-Version: 2.1\nName: frappe-bench\nVersion: 5.0\n")
    (record / "RECORD").write_text("bench/__init__.py,,\n")
    done = call(tmp_path)
    assert done.returncode == 2
    assert done.stderr == (
        "bench: the distribution frappe-bench replaced files of the package `bench` of "
        "convnet-bench; install convnet-bench into an environment of its own\n"
    )


@pytest.mark.slow
def test_removed_files_are_told_in_one_line(tmp_path: Path) -> None:
    shutil.copy(ROOT / "convnet_bench.py", tmp_path)
    done = call(tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("bench: another distribution (its removal took files with it) ")
    assert len(done.stderr.splitlines()) == 1
