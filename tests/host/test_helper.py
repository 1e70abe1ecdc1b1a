"""Helper processes that answer, say something and end, write half an answer, or hang."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from bench.core.decode import Decoder
from bench.host import helper
from bench.host.interpreter import Place
from tests.support.processes import running

ROOT = Path(__file__).parents[2]
NUMBER: Decoder[int] = Decoder(int, "number")
SCRIPT = """#!{python}
import json, os, pathlib, subprocess, sys, time
asked = json.load(sys.stdin)
out = pathlib.Path(asked["out"])
{body}
"""


def ask(folder: Path, body: str, limit_s: float = 60.0, *, in_parts: bool = False) -> int:
    """body: of the script that stands in for the module."""
    python = folder / "python"
    python.write_text(SCRIPT.format(python=sys.executable, body=body))
    python.chmod(0o755)
    place = Place(python=str(python))
    return helper.ask(
        "some.module", {"number": 20}, NUMBER, limit_s, place=place, in_parts=in_parts
    )


@pytest.mark.slow
def test_a_helper_is_asked_in_one_line_and_answers_in_a_file(tmp_path: Path) -> None:
    assert ask(tmp_path, 'print("noise"); out.write_text(str(asked["number"] + 1))') == 21


@pytest.mark.slow
@pytest.mark.parametrize(
    ("body", "code", "said"),
    [
        ('print("one\\n\\x1b[2Jtwo", file=sys.stderr); sys.exit(3)', 3, "?[2Jtwo"),
        ("pass", 0, "no error output"),
        ('out.write_text("{{"); print("half", file=sys.stderr)', 0, "half"),
        ('out.write_text("true")', 0, "no error output"),
        ("os.kill(os.getpid(), 9)", -9, "no error output"),
    ],
)
def test_a_helper_without_an_answer_is_one_line(
    tmp_path: Path, body: str, code: int, said: str
) -> None:
    with pytest.raises(helper.HelperEnded) as caught:
        ask(tmp_path, body.replace("{{", "{"))
    assert (caught.value.code, str(caught.value)) == (code, said)


@pytest.mark.slow
def test_a_helper_that_hangs_is_ended_with_what_it_started(tmp_path: Path) -> None:
    with pytest.raises(helper.HelperLate, match=r"^not done after 3 s$"):
        ask(tmp_path, 'subprocess.Popen(["sleep", "3611"]); time.sleep(3600)', limit_s=3.0)
    assert running("sleep", "3611") == []


@pytest.fixture
def own_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A script in the place of this interpreter; it says when it begins, then waits."""
    python, body = tmp_path / "python", 'out.write_text(str(asked["number"] + 1))'
    begun = f'import pathlib; pathlib.Path("{tmp_path}/begun").open("a").write("x")\n'
    script = SCRIPT.format(python=sys.executable, body=body)
    python.write_text(script.replace("import json", begun + "import json", 1))
    python.chmod(0o755)
    monkeypatch.setattr(helper, "HERE", Place(python=str(python)))
    return python


def ask_here(python: Path) -> int:
    place = Place(python=str(python))
    return helper.ask("some.module", {"number": 20}, NUMBER, 60.0, place=place)


def started_with(python: Path) -> list[psutil.Process]:
    """The children of this process that are run by that script."""
    children = psutil.Process().children()
    return [one for one in children if str(python) in one.cmdline()]


def starts(folder: Path) -> int:
    return len((folder / "begun").read_text())


@pytest.mark.slow
def test_a_helper_that_was_started_early_is_the_one_that_is_asked(
    tmp_path: Path, own_python: Path
) -> None:
    helper.start_early("some.module")
    assert ask_here(own_python) == 21
    assert starts(tmp_path) == 1
    assert ask_here(own_python) == 21  # it answers once
    assert starts(tmp_path) == 2
    assert started_with(own_python) == []


@pytest.mark.slow
def test_a_helper_that_was_started_as_none_would_be_started_now_is_ended(
    tmp_path: Path, own_python: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked_after(change: Callable[[], None]) -> int | None:
        """Return the exit code of the one that was started before the change."""
        helper.start_early("some.module")
        early = helper._early["some.module"].process
        change()
        assert ask_here(own_python) == 21
        assert started_with(own_python) == []
        return early.returncode

    assert asked_after(lambda: None) == 0
    assert asked_after(lambda: monkeypatch.setenv("OMP_NUM_THREADS", "7")) == -signal.SIGKILL
    assert asked_after(lambda: monkeypatch.chdir(tmp_path)) == -signal.SIGKILL
    helper.start_early("some.module")
    helper.start_early("some.module")
    assert len(started_with(own_python)) == 1
    assert helper.early_processes() == [helper._early["some.module"].process.pid]
    helper.drop_early("some.module")
    assert helper.early_processes() == []
    assert started_with(own_python) == []


@pytest.mark.slow
def test_a_helper_that_ended_before_it_was_asked_is_one_line(own_python: Path) -> None:
    own_python.write_text(f"#!{sys.executable}\nimport sys\nsys.exit('no torch here')\n")
    helper.start_early("some.module")
    helper._early["some.module"].process.wait()
    with pytest.raises(helper.HelperEnded, match=r"^no torch here$"):
        ask_here(own_python)


@pytest.mark.slow
def test_a_helper_that_nobody_asks_ends_with_the_process(tmp_path: Path) -> None:
    code = (
        "from bench.host import helper; helper.start_early('bench.worker.probe'); "
        "print(helper._early['bench.worker.probe'].process.pid)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(tmp_path)},
    )
    assert done.stderr == ""
    assert not psutil.pid_exists(int(done.stdout))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_run_asks_the_probe_that_was_started_early() -> None:
    code = (
        "from bench.host import helper; helper.start_early('bench.worker.probe'); "
        "helper._run = None; from bench.commands import run; "
        "run.run(run.Asked(list_only=True, quick=True))"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    assert done.stdout.startswith("convnet:inference:b8:")


def test_a_folder_for_temporary_files_that_is_closed_is_one_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/proc")
    with pytest.raises(helper.HelperError) as caught:
        helper.ask("some.module", {}, NUMBER, 1.0)
    assert str(caught.value).startswith("/proc/bench-module-")
    assert str(caught.value).endswith("or choose another (TMPDIR)")


@pytest.mark.slow
def test_of_a_helper_that_answers_in_parts_the_parts_count_where_it_is_late(tmp_path: Path) -> None:
    body = 'out.write_text("7"); time.sleep(3600)'
    assert ask(tmp_path, body, limit_s=3.0, in_parts=True) == 7
    with pytest.raises(helper.HelperLate, match=r"^not done after 3 s$"):
        ask(tmp_path, body, limit_s=3.0)
    with pytest.raises(helper.HelperLate, match=r"^not done after 3 s$"):
        ask(tmp_path, "time.sleep(3600)", limit_s=3.0, in_parts=True)
