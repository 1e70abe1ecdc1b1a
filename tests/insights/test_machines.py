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


def test_only_the_same_input_is_compared(tmp_path: Path) -> None:
    """The second machine is slower, and measured a smaller input as well."""
    small = case(batch=8, input="3,32,32")
    slow = run(tmp_path, "m1", "Xeon", 0.04)
    fast = run(tmp_path, "m2", "EPYC", 0.01)
    entries = [*replicates(small, [0.0001 * one for one in STEADY])]
    other = run_of(
        tmp_path / "small", entries, machine={"machine_id": "m1"}, devices={"cpu": "Xeon"}
    )
    both = dataclasses.replace(slow, rows=(*slow.rows, *other.rows))
    (found,) = machines.of_runs([both, fast])
    assert found.text.startswith("inference of convnet: EPYC gives most images a second, 4 times")


def test_each_input_that_both_measured_is_a_finding_of_its_own(tmp_path: Path) -> None:
    def of(machine: str, device: str, call_s: float) -> Results:
        entries = [
            entry
            for shape in ("3,32,32", "3,224,224")
            for entry in replicates(case(input=shape), [call_s * one for one in STEADY])
        ]
        described = {"machine": {"machine_id": machine}, "devices": {"cpu": device}}
        return run_of(tmp_path / machine, entries, **described)

    found = machines.of_runs([of("m1", "Xeon", 0.04), of("m2", "EPYC", 0.01)])
    assert [one.text.partition(":")[0] for one in found] == [
        "inference of convnet on 3,32,32",
        "inference of convnet on 3,224,224",
    ]


def test_two_kinds_with_the_same_processor_are_told_apart(tmp_path: Path) -> None:
    (found,) = machines.of_runs(
        [run(tmp_path, "m1", "Xeon", 0.04), run(tmp_path, "m2", "Xeon", 0.01)]
    )
    assert "Xeon (m2) gives most images a second, 4 times as many as Xeon (m1): " in found.text


def test_a_row_that_is_faster_than_possible_is_no_offer(tmp_path: Path) -> None:
    fast = run(tmp_path, "m2", "EPYC", 0.01)
    rows = [dataclasses.replace(row, flags="implausible") for row in fast.rows]
    assert (
        machines.of_runs(
            [run(tmp_path, "m1", "Xeon", 0.04), dataclasses.replace(fast, rows=tuple(rows))]
        )
        == []
    )


def test_many_images_a_second_are_told_with_a_prefix(tmp_path: Path) -> None:
    (found,) = machines.of_runs(
        [run(tmp_path, "m1", "Xeon", 0.004), run(tmp_path, "m2", "EPYC", 0.0001)]
    )
    assert "EPYC 80.0 k (" in found.text
    assert "Xeon 2.00 k (" in found.text
    assert "e+0" not in found.text


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
