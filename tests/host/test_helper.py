"""Helper processes that answer, say something and end, write half an answer, or hang."""

import sys
import tempfile
from pathlib import Path

import pytest

from bench.core.decode import Decoder
from bench.host import helper
from bench.host.interpreter import Place
from tests.support.processes import running

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
