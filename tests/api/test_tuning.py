"""`bench.tune`: the flags it hands to the command, and the object that it returns."""

from pathlib import Path
from typing import Any

import pytest

import bench
from bench.api import tuning
from bench.commands import tune as command
from bench.core import exit_codes
from bench.core.errors import UserError
from tests.tune.test_tune_result import made


def ran(monkeypatch: pytest.MonkeyPatch, answer: command.Ran) -> list[command.Asked]:
    """The command answers this without measuring; returns what it is asked."""
    asked: list[command.Asked] = []

    def measured(one: command.Asked, _console: Any) -> command.Ran:
        asked.append(one)
        return answer

    monkeypatch.setattr(command, "measured", measured)
    return asked


def test_the_answer_has_settings_speedup_code_and_what_nothing_beats(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked = ran(monkeypatch, command.Ran(path=tmp_path, code=0, found=made()))
    found = bench.tune(
        "net:make", input="3,8,8", batch=8, mode="training", max_error=1e-2, budget=60.0,
        only=("amp",), out=tmp_path / "out", progress=False,
    )  # fmt: skip
    (one,) = asked
    assert one.subject == "net:make"
    assert one.axes == {"mode": ("training",), "batch": ("8",), "input": ("3,8,8",)}
    assert (one.max_error, one.budget_s, one.only) == (1e-2, 60.0, ("amp",))
    assert one.out == tmp_path / "out"
    assert found.best == {"amp": "bfloat16"}
    assert found.speedup == (2.0, 1.9, 2.1)
    assert "autocast" in found.code
    assert found.front["settings"].iloc[0] == "amp bfloat16"
    assert repr(found).startswith("amp bfloat16 is the fastest of 4 settings")
    assert "<p>amp bfloat16 is the fastest" in found._repr_html_()


def test_a_single_axis_may_be_given_as_a_text(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked = ran(monkeypatch, command.Ran(path=tmp_path, code=0, found=made()))
    bench.tune("net:make", only="amp", fix="threads=1", progress=False)
    assert (asked[0].only, asked[0].fix) == (("amp",), ("threads=1",))


def test_without_pairs_there_is_no_speedup(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ran(monkeypatch, command.Ran(path=tmp_path, code=0, found=made(against_plain=None)))
    assert bench.tune("net:make").speedup is None


def test_no_right_setting_is_an_error_in_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ran(monkeypatch, command.Ran(path=tmp_path, code=4, found=None))
    with pytest.raises(tuning.TuneFailed, match="no setting was found: none gave a right result"):
        bench.tune("net:make")


def test_ctrl_c_names_the_command_that_goes_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ran(monkeypatch, command.Ran(path=tmp_path, code=exit_codes.INTERRUPTED, found=made()))
    with pytest.raises(KeyboardInterrupt, match=r"bench tune --resume .* continues"):
        bench.tune("net:make")


def test_a_function_that_no_other_process_finds_is_refused() -> None:
    with pytest.raises(UserError):
        bench.tune(lambda: None)
