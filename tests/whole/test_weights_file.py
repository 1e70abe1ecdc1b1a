"""`--weights` reaches every process that runs the subject: of a run, a resume, a comparison."""

import csv
import json
import os
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from bench.ab import scheduler
from bench.ab.ab_plan import Asked
from bench.commands import ab
from bench.verdict.looks import Stage
from bench.worker.model.weights import WeightsError, load
from tests.subjects.hostile import TRAINED
from tests.support.paths import ROOT

NET = "tests.subjects.hostile:Trained"
FLAGS = ("--subject", NET, "--input", "4", "--batch", "2", "--device", "cpu")


def bench(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bench", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "100"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def saved(folder: Path, value: float = TRAINED) -> Path:
    state = {"fc.weight": torch.full((4, 4), value), "fc.bias": torch.zeros(4)}
    torch.save(state, folder / "w.pt")
    return folder / "w.pt"


def statuses(run: Path) -> set[str]:
    with (run / "measurements.csv").open(encoding="utf-8", newline="") as file:
        return {row["status"] for row in csv.DictReader(file)}


SWEEP = f"""\
[run]
replicates = 1
max_replicates = 1
samples_s = 0.02
warmup_s = 0.02

[[sweep]]
subject = "{NET}"
input = "4"
batch = 2
mode = ["inference", "training"]
allocator = "retained"
"""


@pytest.mark.slow
def test_a_run_and_its_resume_have_the_weights_and_another_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bench.toml").write_text(SWEEP)
    file = saved(tmp_path)
    done = bench(tmp_path, "run", "--weights", "w.pt", "--out", "run")
    assert done.returncode == 0, done.stdout + done.stderr
    assert statuses(tmp_path / "run") == {"ok"}
    described = json.loads((tmp_path / "run" / "run.json").read_text())
    assert described["config"]["weights"] == "w.pt"
    resumed = bench(tmp_path, "run", "--resume", "run", "--replicates", "2")
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    assert statuses(tmp_path / "run") == {"ok"}
    saved(file.parent, TRAINED + 0.5)
    refused = bench(tmp_path, "run", "--resume", "run", "--replicates", "3")
    assert refused.returncode == 2
    assert "another weights w.pt: its file has changed since" in refused.stderr
    assert refused.stderr.count("\n") == 1


@pytest.mark.slow
def test_a_profile_has_the_weights(tmp_path: Path) -> None:
    saved(tmp_path)
    given = ("profile", *FLAGS, "--mode", "training")
    done = bench(tmp_path, *given, "--weights", "w.pt", "--out", "with")
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(list((tmp_path / "with").glob("*/profile.json"))) == 1
    without = bench(tmp_path, *given, "--out", "without")
    assert without.returncode != 0
    assert "untrained" in without.stdout + without.stderr


def _few(_: scheduler.Pairs, stage: Stage) -> int:
    return 2 if stage == "first" else 1


@pytest.mark.slow
def test_both_sides_of_a_comparison_have_the_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduler.Pairs, "_most", _few)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    asked: dict[str, Any] = {
        "a": "threads=1",
        "b": "threads=2",
        "subjects": (NET,),
        "axes": {"mode": ("inference",), "batch": ("2",), "input": ("4",), "device": ("cpu",)},
        "options": {"weights": str(saved(tmp_path))},
        "out": tmp_path / "out",
    }
    assert ab.run(Asked(**asked)) in (0, 1)
    with (tmp_path / "out" / "ab.csv").open(encoding="utf-8", newline="") as file:
        verdicts = {row["verdict"] for row in csv.DictReader(file)}
    assert verdicts
    assert not verdicts & {"FAILED", "UNMEASURED"}
    stored = json.loads((tmp_path / "out" / "ab.json").read_text())
    assert stored["asked"]["weights"] == str(tmp_path / "w.pt")


def safetensors_file(path: Path, tensors: dict[str, torch.Tensor]) -> Path:
    """As its format has it: the length of a header in JSON, the header, the numbers.

    Source: https://huggingface.co/docs/safetensors
    """
    header: dict[str, Any] = {}
    numbers = b""
    for name, one in tensors.items():
        own = struct.pack(f"<{one.numel()}f", *one.flatten().tolist())
        place = [len(numbers), len(numbers) + len(own)]
        header[name] = {"dtype": "F32", "shape": list(one.shape), "data_offsets": place}
        numbers += own
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + numbers)
    return path


def test_a_file_of_safetensors_is_loaded(tmp_path: Path) -> None:
    pytest.importorskip("safetensors.torch")
    module = nn.Linear(3, 2)
    state = {"weight": torch.arange(6.0).reshape(2, 3), "bias": torch.ones(2)}
    load(module, safetensors_file(tmp_path / "w.safetensors", state))
    assert module.weight.tolist() == [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]
    assert module.bias.tolist() == [1.0, 1.0]


@pytest.mark.parametrize("held", [b"", b"\x08\0\0\0\0\0\0\0{}", b"no such format at all"])
def test_a_damaged_file_of_safetensors_is_one_line(tmp_path: Path, held: bytes) -> None:
    pytest.importorskip("safetensors.torch")
    (tmp_path / "w.safetensors").write_bytes(held)
    with pytest.raises(WeightsError, match=r"w\.safetensors is not a file of weights") as caught:
        load(nn.Linear(3, 2), tmp_path / "w.safetensors")
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_without_the_package_a_run_says_which_to_install(tmp_path: Path) -> None:
    (tmp_path / "bench.toml").write_text(SWEEP)
    safetensors_file(tmp_path / "w.safetensors", {"fc.weight": torch.ones(4, 4)})
    (tmp_path / "safetensors").mkdir()
    (tmp_path / "safetensors/__init__.py").write_text("raise ImportError('not here')\n")
    done = subprocess.run(
        [sys.executable, "-m", "bench", "run", "--weights", "w.safetensors"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 2
    assert "needs the package safetensors" in done.stderr
    assert done.stderr.count("\n") == 1
