"""The table of speedups: settings × batch sizes, a table for each mode."""

from pathlib import Path

import pytest

from bench.compare.speedup_grid import speedup_table
from tests.support.cases import case
from tests.support.results import replicates, run_of

BASE = [0.020, 0.021, 0.022, 0.020, 0.021]
HALF = [0.010, 0.0104, 0.0112, 0.0101, 0.0103]
CUDA = case(device="cuda:0", threads=None, allocator=None, cudnn_benchmark="off", tf32="off")


def test_a_table_holds_the_settings_of_one_mode_by_batch_size(tmp_path: Path) -> None:
    entries = [
        *replicates(case(batch=1), BASE),
        *replicates(case(batch=8), BASE),
        *replicates(case(batch=1, memory_format="channels_last"), HALF),
        *replicates(case(batch=8, amp="bfloat16"), [2 * one for one in BASE]),
        *replicates(case(batch=1, mode="training", grad_mode=None), BASE),
        *replicates(case(batch=1, mode="training", grad_mode=None, compile="default"), HALF),
        *replicates(case(batch=1, subject="convnet/conv1"), BASE),
        *replicates(case(batch=1, subject="convnet/conv1", amp="bfloat16"), HALF),
    ]
    inference, training = speedup_table(run_of(tmp_path / "run", entries))
    assert (inference.name, inference.mode, inference.batches) == ("convnet", "inference", (1, 8))
    assert [
        (line.setting, [cell and (round(cell.ratio, 2), cell.verdict) for cell in line.cells])
        for line in inference.lines
    ] == [
        ("channels_last", [(2.0, "faster"), None]),
        ("amp=bfloat16", [None, (0.5, "slower")]),
    ]
    assert (training.mode, [line.setting for line in training.lines]) == (
        "training",
        ["compile=default"],
    )


def test_an_interval_stands_beside_its_ratio_from_three_replicates_on(tmp_path: Path) -> None:
    for count, text in ((3, "1.99× (1.93–2.06)"), (2, "2.01× (2 replicates)"), (1, "1 replicate")):
        entries = [
            *replicates(case(), BASE[:count]),
            *replicates(case(amp="bfloat16"), [0.010, 0.0104, 0.0112][:count]),
        ]
        (grid,) = speedup_table(run_of(tmp_path / f"{count}", entries))
        (cell,) = grid.lines[0].cells
        assert cell is not None
        assert text in cell.text


def test_a_cell_that_chance_explains_among_so_many_shows_no_difference(tmp_path: Path) -> None:
    noisy = [0.020, 0.0202, 0.0211, 0.0192, 0.0205]
    alone = [0.0195, 0.0197, 0.0203, 0.0189, 0.0201]
    entries = [*replicates(case(), noisy), *replicates(case(amp="bfloat16"), alone)]
    few = speedup_table(run_of(tmp_path / "few", entries))
    assert [line.cells[0].verdict for line in few[0].lines if line.cells[0]] == ["faster"]
    for threads in range(1, 60):
        entries += replicates(case(threads=str(threads)), [noisy[0], *reversed(noisy[1:])])
    many = speedup_table(run_of(tmp_path / "many", entries))
    words = {line.setting: line.cells[0].verdict for line in many[0].lines if line.cells[0]}
    assert words["amp=bfloat16"] == "no difference shown"


def test_another_device_is_a_line_of_the_first_ones_table(tmp_path: Path) -> None:
    entries = [
        *replicates(case(), BASE),
        *replicates(CUDA, HALF),
    ]
    (grid,) = speedup_table(run_of(tmp_path / "run", entries))
    assert (grid.device, grid.lines[0].setting) == ("cpu", "cuda:0")
    assert grid.lines[0].cells[0] is not None
    assert grid.lines[0].cells[0].ratio == pytest.approx(2.02, abs=0.02)


def test_a_run_of_one_setting_has_no_table(tmp_path: Path) -> None:
    assert speedup_table(run_of(tmp_path / "run", replicates(case(), BASE))) == ()
