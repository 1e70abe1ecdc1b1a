"""The machine with the most images per second, from runs of several kinds."""

import dataclasses
from pathlib import Path

from bench.insights import machines
from bench.results.results import Results
from tests.support.cases import case
from tests.support.results import replicates, run_of

STEADY = (0.99, 1.0, 1.01, 1.0, 1.0)


def run(
    folder: Path, machine: str, device: str, call_s: float, joules: float | None = None
) -> Results:
    entries = [
        *replicates(case(batch=8), [call_s * one for one in STEADY]),
        *replicates(case(batch=1), [call_s * one for one in STEADY]),
        *replicates(case(subject="convnet/conv1"), [call_s / 100 * one for one in STEADY]),
    ]
    made = run_of(
        folder / machine, entries, machine={"machine_id": machine}, devices={"cpu": device}
    )
    rows = [dataclasses.replace(row, energy_j_per_image=joules) for row in made.rows]
    return dataclasses.replace(made, rows=tuple(rows))


def test_the_best_settings_of_each_machine_are_compared_with_intervals(tmp_path: Path) -> None:
    (found,) = machines.of_runs(
        [run(tmp_path, "m1", "Xeon", 0.04), run(tmp_path, "m2", "EPYC", 0.01)]
    )
    assert found.text.startswith(
        "inference of convnet: EPYC gives most images a second, 4 times as many as Xeon: EPYC 800 ("
    )
    assert "Xeon 200 (" in found.text
    assert "joule" not in found.text
    assert found.case_ids == (case(batch=8).case_id,) * 2


def test_machines_whose_intervals_overlap_are_not_told_apart(tmp_path: Path) -> None:
    (found,) = machines.of_runs(
        [run(tmp_path, "m1", "Xeon", 0.0100), run(tmp_path, "m2", "EPYC", 0.0101)]
    )
    assert "Xeon and EPYC cannot be told apart by their images a second" in found.text


def test_images_for_a_joule_are_told_where_energy_was_counted(tmp_path: Path) -> None:
    (found,) = machines.of_runs(
        [run(tmp_path, "m1", "Xeon", 0.04, 0.25), run(tmp_path, "m2", "EPYC", 0.01, 0.5)]
    )
    assert "Images for a joule, counted a single time: EPYC 2 and Xeon 4; Xeon gives most." in (
        found.text
    )


def test_runs_of_one_kind_of_machine_say_nothing_about_machines(tmp_path: Path) -> None:
    one = run(tmp_path, "m1", "Xeon", 0.04)
    assert machines.of_runs([one]) == []
    assert machines.of_runs([one, one]) == []
