"""The sentence on the row `as a plain process` beside plain."""

from pathlib import Path

from bench.host import allocators
from bench.insights import collect, headlines
from bench.insights.insight import Insight
from tests.support.cases import case
from tests.support.results import replicates, run_of

PLAIN, TWIN = case(), case(allocator="system")
STEP, STEP_TWIN = case(mode="training"), case(mode="training", allocator="system")
SLOW = (0.0151, 0.0149, 0.0150, 0.0152, 0.0148)
AS_FAST = (0.0101, 0.0099, 0.0100, 0.0102, 0.0098)


def told(tmp_path: Path, twin: tuple[float, ...]) -> list[Insight]:
    entries = replicates(PLAIN, [0.01] * 5) + replicates(TWIN, twin)
    run = run_of(tmp_path / "run", entries)
    return [one for one in collect.of_run(run) if one.kind == "process"]


def test_a_slower_plain_process_is_told_with_its_interval_and_the_variables(
    tmp_path: Path,
) -> None:
    (one,) = told(tmp_path, SLOW)
    assert one.text == (
        'A plain script runs convnet as the row "as a plain process", at these multiples of the '
        "time of plain: inference: 1.50× (1.48–1.52) at N=8. Set these environment variables "
        "before Python starts, and a script takes the time of plain:"
    )
    assert one.command == allocators.exports()


def test_no_variable_is_named_where_no_difference_was_found(tmp_path: Path) -> None:
    (one,) = told(tmp_path, AS_FAST)
    assert one.text.endswith("inference: 1.00× (0.98–1.02) at N=8.")
    assert one.command == ""


def test_the_variables_stand_once_for_all_subjects(tmp_path: Path) -> None:
    entries = replicates(PLAIN, [0.01] * 5) + replicates(TWIN, SLOW)
    for subject in ("b:net", "c:net"):
        entries += replicates(case(subject=subject), [0.01] * 5)
        entries += replicates(case(subject=subject, allocator="system"), SLOW)
    run = run_of(tmp_path / "run", entries)
    commands = [one.command for one in collect.of_run(run) if one.kind == "process"]
    assert commands == [allocators.exports(), "", ""]


def test_a_plain_process_is_no_setting_that_could_be_the_fastest(tmp_path: Path) -> None:
    fast = [0.005] * 5
    entries = replicates(PLAIN, [0.01] * 5) + replicates(TWIN, fast)
    entries += replicates(STEP, [0.01] * 5) + replicates(STEP_TWIN, fast)
    run = run_of(tmp_path / "run", entries)
    kinds = {one.kind for one in collect.of_run(run)}
    assert "process" in kinds
    assert not kinds & {"best", "speedup", "none"}
    assert headlines.of_run(run).endswith("only one setting was measured.")
