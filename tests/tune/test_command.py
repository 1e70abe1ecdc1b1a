"""The command `bench tune` as its users run it: search, resume and verify."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.commands import tune as command
from bench.plan.config import RunOptions
from bench.results import run_directory
from bench.results.journal import JournalError
from bench.terminal.progress import wide_console
from tests.support.paths import ROOT

SEARCH = ["experiments.tune_networks:planted", "--input", "3,64,64", "--batch", "4"]
SEARCH += ["--device", "cpu", "--only", "memory_format", "--budget", "300"]


def tune(*flags: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bench", "tune", *flags],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.alone  # beside another test the fastest setting can look slow, and is not checked
def test_the_fastest_setting_is_not_chosen_where_it_is_wrong(tmp_path: Path) -> None:
    out = tmp_path / "search"
    done = tune(*SEARCH, "--out", str(out))
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((out / "tune.json").read_text(encoding="utf-8"))
    assert found["winner"]["memory_format"] == "contiguous"
    (refused,) = found["refused"]
    assert refused["case"]["memory_format"] == "channels_last"
    assert refused["reason"].startswith("wrong: ")

    resumed = tune("--resume", str(out))
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    assert "are taken over" in resumed.stdout
    again = json.loads((out / "tune.json").read_text(encoding="utf-8"))
    assert again["winner"] == found["winner"]

    verified = tune("--verify", str(out / "best.toml"))
    assert verified.returncode == 0, verified.stdout + verified.stderr
    assert "there is nothing to verify" in " ".join(verified.stdout.split())


@pytest.mark.slow
def test_a_setting_of_another_file_that_is_wrong_does_not_pass(tmp_path: Path) -> None:
    file = tmp_path / "best.toml"
    tables = [
        f'[[sweep]]\nsubject = "experiments.tune_networks:planted"\ninput = "3,32,32"\nbatch = 2\n'
        f'device = "cpu"\nmemory_format = "{one}"\n'
        for one in ("contiguous", "channels_last")
    ]
    file.write_text("\n".join(tables), encoding="utf-8")
    done = tune("--verify", str(file), "--budget", "30")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "channels_last is wrong here: " in " ".join(done.stdout.split())


@pytest.mark.slow
def test_a_folder_that_is_not_a_search_is_refused_in_one_line(tmp_path: Path) -> None:
    done = tune("--resume", str(tmp_path))
    assert done.returncode == 2
    assert "is not a run directory" in done.stderr


def test_what_a_resume_needs_stays_when_the_disk_is_full(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def full(*_: Any) -> Any:
        raise JournalError("no space left; make room, then continue with --resume")

    directory = run_directory.create(tmp_path / "search", {})
    monkeypatch.setattr(command, "_raced", full)
    with pytest.raises(JournalError):
        command._search(
            command.Asked(), "latency", full, directory, RunOptions(), wide_console(), print, 0.0
        )
    assert directory.folders.scratch.is_dir()
