"""The suite in folders whose files have the names of other modules."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bench import start
from bench.host.interpreter import HERE, Place
from tests.support.paths import ROOT

NAMES = ("bench", "convnet", "json", "numpy", "profile", "random", "statistics", "sympy", "torch")
POISON = """
from pathlib import Path
Path({log!r}).open("a").write({name!r} + "\\n")
raise ImportError("a file of the user's that nobody asked for")
"""
NET = """
import multiprocessing
from torch import nn
from neighbour import WIDTH

def look():
    import random, statistics

def make():
    other = multiprocessing.get_context("spawn").Process(target=look)
    other.start()
    other.join()
    assert other.exitcode == 0
    return nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.ReLU())
"""
ONCE = """
[run]
replicates = 1
samples_s = 0.05
warmup_s = 0.05
[[sweep]]
allocator = "retained"
subject = ["mynet:make", "convnet/relu1"]
mode = "inference"
batch = 2
input = "3,32,32"
"""
SCRIPT = "import sys\nfrom convnet_bench import main\nsys.exit(main())\n"
Bench = Callable[..., subprocess.CompletedProcess[str]]


def call(
    folder: Path, *command: str, path: str = str(ROOT), **more: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path, "COLUMNS": "200", **more},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )


@pytest.fixture
def poisoned(tmp_path: Path) -> Path:
    """A folder of a user's, each wrong file of which leaves word in `../ran` when it is executed.

    It is no repository.
    """
    folder = tmp_path / "poisoned"
    folder.mkdir()
    for name in NAMES:
        text = POISON.format(log=str(tmp_path / "ran"), name=name)
        (folder / f"{name}.py").write_text(text)
    (folder / "mynet.py").write_text(NET)
    (folder / "neighbour.py").write_text("WIDTH = 32\n")
    (folder / "once.toml").write_text(ONCE)
    (tmp_path / "script").write_text(SCRIPT)
    return folder


def ran(folder: Path) -> str:
    log = folder.parent / "ran"
    return log.read_text() if log.exists() else ""


def script(folder: Path) -> tuple[str, str]:
    """As pip installs it: a file in a folder of commands that imports the suite."""
    return sys.executable, str(folder.parent / "script")


@pytest.mark.slow
@pytest.mark.parametrize("path", [str(ROOT), f"{os.pathsep}{ROOT}", f".{os.pathsep}{ROOT}"])
def test_a_run_executes_no_file_that_has_the_name_of_another_module(
    poisoned: Path, path: str
) -> None:
    done = call(
        poisoned, *script(poisoned), "run", "--config", "once.toml", "--out", "out", path=path
    )
    assert (done.returncode, done.stderr) == (0, "")
    entries = [json.loads(one) for one in (poisoned / "out/journal.jsonl").read_text().splitlines()]
    measured = {one["case"]["subject"] for one in entries if one["kind"] == "measurement"}
    assert measured == {"mynet:make", "convnet/relu1"}
    shutil.copytree(poisoned / "out", poisoned / "again")
    for command in (("compare", "out", "again"), ("check", "out", "--baseline", "out")):
        done = call(poisoned, *script(poisoned), *command, path=path)
        assert done.returncode == 0, done.stderr
    assert call(poisoned, *script(poisoned), "report", "out", path=path).returncode == 0
    assert ran(poisoned) == ""


@pytest.mark.slow
@pytest.mark.parametrize("shape", ["file", "package", "folder"])
def test_the_name_bench_may_be_a_file_a_package_or_a_folder(poisoned: Path, shape: str) -> None:
    if shape != "file":
        (poisoned / "bench").mkdir()
        (poisoned / "bench.py").rename(
            poisoned / "bench" / ("__init__.py" if shape == "package" else "own.py")
        )
    done = call(poisoned, *script(poisoned), "run", "--config", "once.toml", "--list")
    assert done.stdout.startswith("mynet:make:inference:b2:3x32x32:cpu"), done.stderr
    assert ran(poisoned) == ""


@pytest.mark.slow
def test_a_module_of_the_suite_starts_it_where_a_file_called_bench_would_come_first(
    poisoned: Path,
) -> None:
    command = (sys.executable, "-m", "convnet_bench", "run", "--config", "once.toml", "--list")
    done = call(poisoned, *command)
    assert done.stdout.startswith("mynet:make:inference:b2:3x32x32:cpu"), done.stderr
    assert ran(poisoned) == ""


@pytest.mark.slow
def test_the_package_bench_can_be_started_beside_other_wrong_names(poisoned: Path) -> None:
    (poisoned / "bench.py").unlink()
    command = (sys.executable, "-m", "bench", "run", "--config", "once.toml", "--list")
    done = call(poisoned, *command)
    assert done.stdout.startswith("mynet:make:inference:b2:3x32x32:cpu"), done.stderr
    assert ran(poisoned) == ""


@pytest.mark.slow
def test_a_profile_executes_no_such_file(poisoned: Path) -> None:
    done = call(
        poisoned, *script(poisoned), "profile", "--config", "once.toml", "--subject", "mynet:make"
    )
    assert done.returncode == 0, done.stderr
    assert ran(poisoned) == ""


@pytest.mark.slow
def test_the_selftest_executes_no_such_file(poisoned: Path) -> None:
    done = call(poisoned, *script(poisoned), "selftest", "--quick")
    assert "accelerators" in done.stdout, done.stderr
    assert "Traceback" not in done.stderr
    assert ran(poisoned) == ""


@pytest.mark.slow
@pytest.mark.parametrize("sides", [("HEAD", "."), ("threads=1", "threads=1"), ("python", "python")])
def test_a_comparison_executes_no_such_file(poisoned: Path, sides: tuple[str, str]) -> None:
    who = ("-c", "user.name=Test", "-c", "user.email=test@example.org")
    for arguments in (("init", "-q"), ("add", "."), (*who, "commit", "-qm", "first")):
        assert call(poisoned, "git", *arguments).returncode == 0
    a, b = (f"python={sys.executable}" if one == "python" else one for one in sides)
    done = call(
        poisoned, *script(poisoned), "ab", a, b, "--config", "once.toml", "--subject",
        "mynet:make", "--budget", "20", "--out", "out",
    )  # fmt: skip
    assert done.stderr == ""
    pairs = (poisoned / "out/pairs.jsonl").read_text().splitlines()
    assert pairs
    assert ran(poisoned) == ""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("subject", "says"),
    [
        ("statistics:Net", "statistics.py is hidden by Python's own module statistics"),
        ("bench:Net", "bench.py is hidden by this suite's own package bench"),
        ("convnet.nets:Net", "convnet.py is hidden by this suite's own package convnet"),
        ("torch.py:Net", "torch.py is hidden by the installed package torch"),
    ],
)
def test_a_subject_in_a_hidden_file_is_told_what_hides_it(
    poisoned: Path, subject: str, says: str
) -> None:
    done = call(poisoned, *script(poisoned), "run", "--subject", subject, "--input", "3", "--list")
    assert done.returncode == 2
    assert done.stderr.startswith("bench: subject ")
    assert done.stderr.endswith(f"({says}: rename it)\n")
    assert ran(poisoned) == ""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("subject", "says"),
    [
        ("blocks/nets.py:Net", "blocks is hidden by the installed package blocks: rename it, or "),
        (
            "statistics/nets.py:Net",
            "statistics is hidden by Python's own module statistics: rename",
        ),
    ],
)
def test_a_folder_without_init_is_told_what_hides_it(
    poisoned: Path, subject: str, says: str
) -> None:
    site = poisoned.parent / "site"
    (site / "blocks").mkdir(parents=True)
    (site / "blocks/__init__.py").touch()
    (poisoned / "statistics.py").unlink()
    for name in ("blocks", "statistics"):
        (poisoned / name).mkdir()
        (poisoned / name / "nets.py").write_text("class Net: pass\n")
    path = os.pathsep.join((str(ROOT), str(site)))
    done = call(
        poisoned,
        *script(poisoned),
        "run",
        "--subject",
        subject,
        "--input",
        "3",
        "--list",
        path=path,
    )
    assert done.returncode == 2
    assert f"(the folder {says}" in done.stderr


@pytest.mark.slow
def test_a_users_module_comes_before_an_installed_one_of_that_name(poisoned: Path) -> None:
    site = poisoned.parent / "site"
    site.mkdir()
    (site / "neighbour.py").write_text("WIDTH = 5\n")
    path = os.pathsep.join((str(ROOT), str(site)))
    done = call(
        poisoned, *script(poisoned), "run", "--config", "once.toml", "--out", "out", path=path
    )
    assert done.returncode == 0, done.stderr
    assert json.loads((poisoned / "out/run.json").read_text())["parameters"]["mynet:make"] == 1056


@pytest.mark.slow
def test_a_package_under_src_is_found_from_the_top_and_from_below(poisoned: Path) -> None:
    (poisoned / "src/pkg").mkdir(parents=True)
    (poisoned / "src/pkg/__init__.py").touch()
    (poisoned / "src/pkg/net.py").write_text("from torch.nn import ReLU as Net\n")
    (poisoned / "deep").mkdir()
    assert call(poisoned, "git", "init", "-q").returncode == 0
    for folder in (poisoned, poisoned / "deep"):
        done = call(
            folder, *script(poisoned), "run", "--subject", "pkg.net:Net", "--input", "3", "--list"
        )
        assert done.stdout.startswith("pkg.net:Net:inference"), done.stderr


OWN_BENCH = """
from pathlib import Path
Path({log!r}).open("a").write("bench\\n")
VALUE = 3
"""
USES_NOTHING = "def test_nothing(): pass\n"
USES_BOTH = """
def test_before():
    import bench
    assert bench.VALUE == 3

def test_ours(bench_case, bench_callable=None):
    out = bench_case("convnet/relu1", input="3,32,32", batch=1)
    assert out.shape[0] == 1
    import bench
    assert bench.VALUE == 3

def test_inside(bench_callable):
    def work():
        import bench
        return bench.VALUE
    assert bench_callable(work) == 3
"""


@pytest.fixture
def tested(tmp_path: Path) -> Path:
    """A folder of tests with a bench.py that is the user's, and a convnet.py that must not run."""
    folder = tmp_path / "tested"
    folder.mkdir()
    log = str(tmp_path / "ran")
    (folder / "bench.py").write_text(OWN_BENCH.format(log=log))
    (folder / "convnet.py").write_text(POISON.format(log=log, name="convnet"))
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("form", ["-m", "-Pm"])
@pytest.mark.parametrize(
    ("text", "count", "log"), [(USES_NOTHING, 1, ""), (USES_BOTH, 3, "bench\n")]
)
def test_pytest_loads_the_plugin_and_leaves_the_name_bench_to_the_user(
    tested: Path, form: str, text: str, count: int, log: str
) -> None:
    (tested / "test_it.py").write_text(text)
    done = call(
        tested, sys.executable, form, "pytest", "-q", "-p", "convnet_bench",
        "-p", "no:cacheprovider", PYTEST_DISABLE_PLUGIN_AUTOLOAD="1",
    )  # fmt: skip
    assert f"{count} passed" in done.stdout, done.stdout + done.stderr
    assert ran(tested) == log


def test_what_comes_from_this_project_is_told_from_a_users_module() -> None:
    assert start.is_own(start)
    assert not start.is_own(json)


def test_the_current_directory_is_no_part_of_what_a_process_inherits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "inside").mkdir()
    parts = ["", "/elsewhere", ".", str(tmp_path), str(tmp_path / "inside")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(parts))
    environment = HERE.environment()
    assert environment["PYTHONPATH"] == os.pathsep.join(["/elsewhere", str(tmp_path / "inside")])
    assert environment["PYTHONSAFEPATH"] == "1"


def test_a_side_is_looked_for_in_its_own_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Place(path=(tmp_path / "a", tmp_path / "b"))
    monkeypatch.setenv(start.FOLDERS, place.environment()[start.FOLDERS])
    assert start.subject_folders() == [str(tmp_path / "a"), str(tmp_path / "b")]


def test_a_process_hands_on_the_folders_that_it_was_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run in the tree of a past commit starts processes that measure the same tree."""
    monkeypatch.setenv(start.FOLDERS, str(tmp_path))
    assert HERE.environment()[start.FOLDERS] == str(tmp_path)
    other = Place(path=(tmp_path / "a",))
    assert other.environment()[start.FOLDERS] == str(tmp_path / "a")
    monkeypatch.delenv(start.FOLDERS)
    assert HERE.environment()[start.FOLDERS] == ""
