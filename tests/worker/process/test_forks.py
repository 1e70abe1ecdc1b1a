"""The use of an accelerator in a fork, with a made-up CUDA driver."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.core.records import Entry, Measurement
from bench.engine.collect import collect
from bench.engine.fork_server import ForkServer
from bench.engine.requests import request
from bench.host.interpreter import COMPILER, Place
from bench.plan.config import RunOptions
from bench.results.run_directory import Folders
from bench.worker.process import forks
from tests.support import fake_library
from tests.support.cases import case
from tests.support.paths import ROOT

LOOK = """
import ctypes, json, os, sys
from bench.worker.process import forks

def in_a_fork(device):
    pid = os.fork()
    if pid == 0:
        os._exit(forks.cannot_use(device))
    return bool(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))

found = {"before": forks.driver_started()}
with open("/proc/self/maps") as mapped:
    found["loads"] = "libcuda" in mapped.read()
driver = ctypes.CDLL(sys.argv[1])
found["loaded"] = forks.driver_started()
found["loaded_fork"] = in_a_fork("cuda:0")
driver.cuInit(0)
found["begun"] = forks.driver_started()
found["forks"] = {device: in_a_fork(device) for device in ("cuda:0", "cpu", "mps")}
print(json.dumps(found))
"""

IMPORT = """
import ctypes, json, sys
from bench.core.protocol import Hello
from bench.worker import fork_server_process
from bench.worker.device import torch_private

torch_private.import_inductor = lambda: ctypes.CDLL(sys.argv[1]).cuInit(0)
unshared = fork_server_process._import(Hello(modules=("json",), inductor=True))
print(json.dumps([unshared, fork_server_process._not_shared(unshared)]))
"""


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fake_library.built("fake_cuda.c", "libcuda.so.1", tmp_path_factory.mktemp("cuda"))


def said_by(code: str, *arguments: object, **variables: str) -> Any:
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_a_driver_that_another_library_began_is_seen_and_its_forks_are_bad(driver: Path) -> None:
    assert said_by(LOOK, driver, LD_LIBRARY_PATH=str(driver.parent)) == {
        "before": False,
        "loads": False,  # asking whether it is begun must not load it
        "loaded": False,  # a library that is only loaded does no harm
        "loaded_fork": False,
        "begun": True,
        "forks": {"cuda:0": True, "cpu": False, "mps": False},
    }


@pytest.mark.slow
def test_a_driver_without_a_gpu_is_not_begun(driver: Path) -> None:
    found = said_by(LOOK, driver, FAKE_CUDA="none")
    assert found["begun"] is False
    assert found["forks"]["cuda:0"] is False


@pytest.mark.slow
def test_a_compiler_whose_import_begins_the_driver_is_not_shared_and_said(driver: Path) -> None:
    unshared, notes = said_by(IMPORT, driver)
    assert unshared == [COMPILER]
    assert len(notes) == 1
    assert "each compiled case imports the compiler for itself" in notes[0]
    assert said_by(IMPORT, driver, FAKE_CUDA="none") == [[], []]


@pytest.mark.slow
@pytest.mark.parametrize("answer", [True, False])
def test_where_a_driver_does_not_tell_torch_is_asked_in_a_fork(answer: bool) -> None:
    asked_in = os.getpid()
    assert forks._bad_in_a_fork("xpu", lambda _: os.getpid() != asked_in and answer) is answer


@pytest.mark.slow
def test_a_fork_in_which_torch_raises_is_not_taken_for_a_bad_one() -> None:
    def raises(_: str) -> bool:
        raise RuntimeError("no such backend")

    assert forks._bad_in_a_fork("xpu", raises) is False


# --- through a replicate -----------------------------------------------------------------------


def ask(session: ForkServer, where: Path, **changes: Any) -> Entry:
    folders = Folders(where / "scratch", where / "failures")
    folders.scratch.mkdir(exist_ok=True)
    options = RunOptions(samples_s=0.02, warmup_s=0.01)
    one = case(subject="torch.nn:Linear(4, 4)", input="4", batch=2, **changes)
    asked = request("measure", one, 0, options, folders)
    return collect(asked, session.ask(asked), folders)


@pytest.fixture
def notes() -> list[str]:
    return []


@pytest.fixture
def begins_early(
    driver: Path, tmp_path: Path, notes: list[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[ForkServer]:
    """A replicate whose Python begins the driver when it starts."""
    begin = f"import ctypes; ctypes.CDLL({str(driver)!r}).cuInit(0)\n"
    folder = tmp_path / "start"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(begin)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    one = ForkServer(
        allocator="retained",
        modules=["torch.nn"],
        inductor=False,
        log=tmp_path / "log",
        place=Place(),
        say=notes.append,
    )
    yield one
    one.close()


@pytest.mark.slow
def test_a_replicate_that_no_longer_forks_for_a_device_says_so_once_and_why(
    begins_early: ForkServer, tmp_path: Path, notes: list[str]
) -> None:
    assert begins_early.forks
    assert isinstance(ask(begins_early, tmp_path), Measurement)
    assert notes == []  # the CPU's cases are forked as ever
    for _ in range(2):
        ask(begins_early, tmp_path, device="cuda:0", threads=None, allocator=None)
    (note,) = notes
    assert note == (
        "a forked process cannot use cuda here: torch, or what this Python loads when it starts, "
        "began its driver beforehand; so each case on cuda starts a Python of its own, which takes "
        "some seconds"
    )


@pytest.mark.slow
def test_a_subject_whose_import_begins_the_driver_is_left_to_its_own_cases(
    driver: Path, tmp_path: Path, notes: list[str]
) -> None:
    (tmp_path / "begins_cuda.py").write_text(
        f"import ctypes\nctypes.CDLL({str(driver)!r}).cuInit(0)\n"
    )
    one = ForkServer(
        allocator="retained",
        modules=["begins_cuda", "torch.nn"],
        inductor=False,
        log=tmp_path / "log",
        place=Place(path=(tmp_path, ROOT)),
        say=notes.append,
    )
    try:
        assert one.unshared == {"begins_cuda"}
        ask(one, tmp_path, device="cuda:0", threads=None, allocator=None)
    finally:
        one.close()
    assert notes == []  # nothing else takes longer
    log = (tmp_path / "log").read_text()
    assert "begins_cuda changes the accelerator's driver: not shared" in log
