"""The summary that is printed at the end of a run."""

import dataclasses
import io
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from bench.compare.speedup_grid import speedup_table
from bench.core.records import Case, Entry, Failure, Measurement, Row, Samples, StaticMetrics
from bench.host import allocators
from bench.plots.captions import interval_note
from bench.results.aggregate import rows
from bench.terminal.run_summary import (
    _between,
    _disturbed,
    _files,
    _left_out,
    _odd,
    _process_starts,
    _unverified,
    _wide,
    cases,
    show,
    speedups,
)
from tests.support.cases import case
from tests.support.results import DESCRIBED, measurement, replicates, run_of

DROPOUT = {"relative_error": "output differ by 0.5 under another seed"}


def result(*entries: Entry) -> list[Row]:
    return rows(entries, run=DESCRIBED)


def test_reasons_of_unverified_cases_are_said_once_each_with_their_number() -> None:
    one, other, third = case(batch=1), case(batch=2), case(batch=4)
    entries = [
        *(entry for each in (one, other, third) for entry in replicates(each, [0.01] * 3)),
        StaticMetrics(case=one, metrics={}, problems=DROPOUT),
        StaticMetrics(case=other, metrics={}, problems=DROPOUT),
        StaticMetrics(case=third, metrics={"relative_error": 1e-7}),
    ]
    assert _unverified(result(*entries), entries) == [
        "unverified: 2 cases: output differ by 0.5 under another seed"
    ]


def test_parameters_that_are_not_counted_are_said_once_a_subject() -> None:
    why = {"parameters": "no call reaches the lazy layer never"}
    entries = [
        *(
            StaticMetrics(case=case(subject="m:a", batch=size), metrics={}, problems=why)
            for size in (1, 2)
        ),
        StaticMetrics(case=case(subject="m:b"), metrics={}, problems={"flops": "hidden"}),
    ]
    assert _left_out(entries) == ["m:a: no call reaches the lazy layer never"]


def test_a_case_that_did_not_run_is_not_called_unverified() -> None:
    assert _unverified([], [StaticMetrics(case=case(), metrics={}, problems=DROPOUT)]) == []


def test_cases_that_failed_for_one_reason_are_one_line() -> None:
    reasons = [("ValueError: no", "a.txt"), ("ValueError: no", "b.txt"), ("shapes differ", None)]
    entries: list[Entry] = [
        *(
            Failure(case=case(batch=batch), replicate=0, status="error", reason=reason, log=log)
            for batch, (reason, log) in enumerate(reasons, 1)
        ),
        *replicates(case(batch=8), [0.01] * 3),
    ]
    assert _odd(result(*entries), entries) == [
        "error: convnet inference N=1 and 1 more: ValueError: no (failures/a.txt)",
        "error: convnet inference N=3: shapes differ",
    ]


def test_cases_that_are_doubted_for_one_reason_are_one_line_whatever_its_figures() -> None:
    entries = [
        measurement(
            case(batch=batch),
            0,
            0.01,
            flags=("unsteady",),
            state={"doubts": {"unsteady": f"the times rose by {batch}%"}},
        )
        for batch in (7, 12)
    ]
    assert _odd(result(*entries), entries) == [
        "convnet inference N=7 and 1 more: unsteady: the times rose by 7%"
    ]


def disturbed(replicate: int, *, flags: tuple[str, ...] = (), repeats: int = 0) -> Measurement:
    made = measurement(case(), replicate, 0.01)
    return dataclasses.replace(made, flags=flags, state={"repeats": repeats} if repeats else {})


def test_what_the_intervals_of_times_include_is_said_with_its_source() -> None:
    found = result(*replicates(case(), [0.010, 0.011, 0.012]))
    assert _between(found) == [
        "intervals of times include what runs of one code differ by: 4.6 % between runs (default)"
    ]
    assert interval_note(found) == "bars: 95 % interval, 4.6 % between runs (default)"
    alone = result(*replicates(case(), [0.010]))  # which has no interval
    assert _between(alone) == []
    assert interval_note(alone) == "bars: 95 % interval, over replicates"


def test_a_plot_of_throughput_says_what_its_own_intervals_include() -> None:
    (row,) = result(*replicates(case(), [0.010, 0.011, 0.012]))
    found = [dataclasses.replace(row, pipelined_between_ratio=0.02, earlier_runs=6)]
    assert interval_note(found) == "bars: 95 % interval, 4.6 % between runs (6 earlier runs)"
    assert interval_note(found, "pipelined") == (
        "bars: 95 % interval, 2.0 % between runs (6 earlier runs)"
    )


def test_a_quiet_run_says_nothing_of_disturbance() -> None:
    assert _disturbed([disturbed(0), disturbed(1)]) == []


def test_how_much_of_a_run_was_disturbed_is_said() -> None:
    seen = [disturbed(0, flags=("contended",), repeats=2), disturbed(1, repeats=1), disturbed(2)]
    assert _disturbed(seen) == [
        "other work on the machine disturbed 1 of 3 outcomes after 3 were measured again"
    ]


def printed(found: Sequence[Row]) -> str:
    console = Console(file=io.StringIO(), width=100)
    console.print(cases(found))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_an_interval_that_says_nothing_is_told_in_words_and_explained() -> None:
    found = result(*replicates(case(), [0.01, 0.1, 0.001]))
    assert "too wide" in printed(found)
    assert _wide(found, ()) == [
        (
            "too wide: the 95 % interval is so wide that it says nothing; more replicates or "
            "pairs, or a quieter machine, narrow it"
        )
    ]
    quiet = result(*replicates(case(), [0.01] * 3))
    assert "too wide" not in printed(quiet)
    assert _wide(quiet, ()) == []


def test_a_subject_of_several_inputs_is_named_with_them() -> None:
    small, large, other = case(input="3,32,32"), case(input="3,64,64"), case(subject="m:net")
    text = printed(
        result(*(entry for one in (small, large, other) for entry in replicates(one, [0.01] * 3)))
    )
    assert "convnet inference N=8 on 3,32,32" in text
    assert "convnet inference N=8 on 3,64,64" in text
    assert "all on cpu, float32" in text


def test_of_many_plots_the_first_are_named(tmp_path: Path) -> None:
    plots = [tmp_path / f"latency-{number}.png" for number in range(10)]
    (line,) = [one for one in _files(tmp_path, [], plots) if "plots/" in one]
    assert line.endswith("latency-7.png and 2 more")


def test_the_command_to_compare_with_is_one_that_a_shell_takes_as_it_is() -> None:
    entries = [one for batch in (1, 2) for one in replicates(case(batch=batch), [0.01] * 3)]
    lines = _files(Path("my run; touch owned"), result(*entries), [])
    assert lines[-1] == "compare: bench compare 'my run; touch owned' --by batch"


def training(one: Case, time_s: float) -> list[Entry]:
    """Three replicates of a step and of the forward inside it."""
    return [
        Measurement(
            case=one,
            replicate=number,
            samples=tuple(
                Samples(phase=phase, kind="latency", calls_per_sample=1, times_s=(time_s,))
                for phase in ("forward", "step")
            ),
        )
        for number in range(3)
    ]


def test_each_cell_of_the_speedups_stands_unbroken_and_has_the_colour_of_its_verdict(
    tmp_path: Path,
) -> None:
    entries = [
        *training(case(mode="training"), 0.03),
        *training(case(mode="training", memory_format="channels_last"), 0.01),
        *replicates(case(), [0.020, 0.021, 0.022]),
        *replicates(case(memory_format="channels_last"), [0.010, 0.0104, 0.0112]),
        *replicates(case(amp="bfloat16"), [0.040, 0.0416, 0.0448]),
        *replicates(case(subject="convnet/conv1"), [0.02] * 3),
        *replicates(case(subject="convnet/conv1", memory_format="channels_last"), [0.01] * 3),
    ]
    inference, step = speedup_table(run_of(tmp_path / "run", entries))
    lines = speedups(inference).lines(80)
    assert [line.plain for line in lines] == [
        "convnet inference: speedup over plain (95 % interval)",
        "",
        "setting                      N=8",
        "────────────────────────────────",
        "channels_last  1.99× (1.93–2.06)",
        "amp=bfloat16   0.50× (0.48–0.52)",
        "",
    ]
    styles = [[str(span.style) for span in line.spans] for line in lines[4:6]]
    assert ["green" in styles[0], "red" in styles[1]] == [True, True]
    assert [round(cell.ratio, 3) for line in step.lines for cell in line.cells if cell] == [3.0]


def test_the_speedup_of_an_implausible_case_has_no_colour(tmp_path: Path) -> None:
    entries = [
        *replicates(case(), [0.020, 0.021, 0.022]),
        *replicates(case(memory_format="channels_last"), [0.010, 0.0104, 0.0112]),
        *replicates(case(amp="bfloat16"), [0.001, 0.00104, 0.00112]),
    ]
    run = run_of(tmp_path / "run", entries)
    rows_ = tuple(
        dataclasses.replace(row, flags="implausible") if row.amp == "bfloat16" else row
        for row in run.rows
    )
    run = dataclasses.replace(run, rows=rows_)
    console = Console(file=io.StringIO(), width=100, color_system="standard", force_terminal=True)
    show(run, [], [], console)
    assert isinstance(console.file, io.StringIO)
    printed_ = console.file.getvalue()
    (line,) = (one for one in printed_.splitlines() if one.startswith("amp=bfloat16 "))
    assert "19.9× implausible" in line
    assert "\x1b[32m" not in line
    assert "1 faster (green), 1 implausible (tested" in " ".join(printed_.split())


def test_a_time_of_two_replicates_has_no_interval_but_says_how_many_there_are() -> None:
    two = printed(result(*replicates(case(), [0.010, 0.011])))
    assert "2 replicates" in two
    assert "%" not in two.splitlines()[-2]
    three = printed(result(*replicates(case(), [0.010, 0.011, 0.012])))
    assert "replicates" not in three
    assert "%" in three.splitlines()[-2]


def test_the_plain_process_is_told_at_the_end_and_its_variables_stay_on_one_line(
    tmp_path: Path,
) -> None:
    entries = replicates(case(), [0.010, 0.0101, 0.0099])
    entries += replicates(case(allocator="system"), [0.015, 0.0151, 0.0149])
    screen = io.StringIO()
    console = Console(file=screen, width=80, color_system=None)
    show(run_of(tmp_path / "run", entries), entries, [], console)
    lines = screen.getvalue().splitlines()
    assert allocators.exports() in lines
    assert '- A plain script runs convnet as the row "as a plain process", at these' in lines
    assert any(line.startswith("as a plain process  0.67× (") for line in lines)


def test_the_cost_of_a_process_is_said_for_each_accelerator_and_not_for_a_cpu() -> None:
    gpu = case(device="cuda:0", cudnn_benchmark="off", tf32="off", threads=None, allocator=None)
    entries: list[Entry] = replicates(case(), [0.01])
    for number, start_s in enumerate((0.2, 0.32, 0.9)):
        entries.append(measurement(gpu, number, 0.01, metrics={"process_start_s": start_s}))
    (line,) = _process_starts(result(*entries))
    assert line == (
        "a new process takes 320 ms to open cuda:0, imports aside, before its first call "
        "(first_call_s)"
    )
