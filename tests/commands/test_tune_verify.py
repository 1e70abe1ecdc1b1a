"""`bench tune --verify`: what is measured for which objective, and the exit codes."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from bench.commands import tune_verify
from bench.core import exit_codes
from bench.core.records import Case
from bench.host import environment, probe
from bench.host.probed import Device, Probe, SubjectFound
from bench.tune.static import Static

FOUND = Probe(
    torch="2.13.0",
    torch_details={"torch": "2.13.0", "threads": 2},
    devices={"cpu": Device(name="cpu", shown="a CPU")},
    subjects={"convnet": SubjectFound(has_inputs=True, parameters=1)},
)
TOML = "".join(
    f'[[sweep]]\nsubject = "convnet"\nbatch = 8\ndevice = "cpu"\nmemory_format = "{one}"\n'
    for one in ("contiguous", "channels_last")
)


class Lab:
    """A lab in which each memory format has a known peak; pairs are never faster."""

    peaks: dict[str, float]

    def __init__(self, **_: Any) -> None:
        """Take what a ProcessLab takes."""

    def statics(self, cases: Sequence[Case]) -> Iterator[Static]:
        for case in cases:
            peak = self.peaks.get(case.memory_format)
            yield Static({} if peak is None else {"peak_bytes": peak})

    def pair(self, _: int, compared: Sequence[tuple[Case, Case]]) -> list[float | None]:
        return [0.0] * len(compared)


@pytest.fixture
def search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a search for less memory that chose channels_last."""
    monkeypatch.setattr(environment, "git_state", lambda _: {"git_commit": None})
    monkeypatch.setattr(probe, "look", lambda *_, **__: FOUND)
    monkeypatch.setattr(tune_verify, "ProcessLab", Lab)
    (tmp_path / "best.toml").write_text(TOML)
    (tmp_path / "tune.json").write_text(json.dumps({"objective": "memory"}))
    return tmp_path


@pytest.mark.parametrize(
    ("peaks", "code"),
    [
        ({"contiguous": 15e6, "channels_last": 12e6}, exit_codes.OK),
        ({"contiguous": 15e6, "channels_last": 15e6}, exit_codes.BAD_RESULT),
        ({"channels_last": 12e6}, exit_codes.FAILED),
    ],
)
def test_a_search_for_less_memory_is_verified_by_the_memory(
    search: Path, monkeypatch: pytest.MonkeyPatch, peaks: dict[str, float], code: int
) -> None:
    monkeypatch.setattr(Lab, "peaks", peaks, raising=False)
    assert tune_verify.run(search, 60.0, 60.0) == code


def test_a_search_for_speed_is_verified_by_pairs(
    search: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Lab, "peaks", {}, raising=False)
    (search / "tune.json").write_text(json.dumps({"objective": "latency"}))
    assert tune_verify.run(search, 60.0, 60.0) == exit_codes.BAD_RESULT
    said = " ".join(capsys.readouterr().out.split())
    assert "channels_last is not shown to be faster here: 1.00×" in said
