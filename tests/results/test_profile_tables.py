"""The tables, the plot and the words of a profile, from a made-up one."""

import csv
import dataclasses
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from bench.plots import draw, memory_of_step
from bench.plots.style import NothingToDraw
from bench.results import profile_tables
from bench.results.profile_tables import Profile, ProfileReadError
from bench.terminal import profile_summary
from tests.support.cases import case

PHASES = ("forward", "backward", "optimizer")


def layer(name: str, kind: str, host: tuple[float, ...], device: Any = None) -> dict[str, Any]:
    row: dict[str, Any] = {"layer": name, "module": name.partition("#")[0], "type": "Conv2d"}
    row |= {"kind": kind, "host_s": sum(host)}
    row |= {f"{phase}_host_s": time for phase, time in zip(PHASES, host, strict=True)}
    device = device or (None, None, None)
    row |= {f"{phase}_device_s": time for phase, time in zip(PHASES, device, strict=True)}
    return row | {"device_s": None if device[0] is None else sum(device)}


def operator(name: str, self_s: float, total_s: float) -> dict[str, Any]:
    return {"operator": name, "calls": 2, "self_host_s": self_s, "host_s": total_s}


FOUND: dict[str, Any] = {
    "case": case(mode="training").as_dict(),
    "steps": 3,
    "host": {"whole_s": 0.010, "profiled_s": 0.0101, "unprofiled_s": 0.009},
    "contended": False,
    "layers": [
        layer("conv1", "layer", (0.002, 0.004, 0.0)),
        layer("relu", "layer", (0.001, 0.001, 0.0)),
        layer("(network)", "module", (0.0005, 0.0, 0.0)),
        layer("(autograd)", "residual", (0.0, 0.0005, 0.0)),
        layer("(optimizer)", "residual", (0.0, 0.0, 0.001)),
    ],
    "operators": [operator("aten::convolution_backward", 0.004, 0.005), operator("=1", 0.0, 0.001)],
    "kernels": [],
    "device": None,
    "memory": {
        "times_s": [0.0, 0.001, 0.002],
        "bytes": {"parameters": [100, 100, 100], "temporary": [0, 5_000_000, 0]},
        "peak": 1,
        "peak_bytes": 5_000_100,
        "alive": [
            {"bytes": 5_000_000, "category": "temporary", "name": "conv1", "operator": "aten::x"},
            {"bytes": 100, "category": "parameters", "name": "<b>$x$\n", "operator": ""},
        ],
    },
    "allocated": {"aten::convolution_backward": [1_000_000, 2_000_000]},
    "flops": {"aten::convolution_backward": 7},
    "notes": ["a note\x1b[31m"],
}
ON_DEVICE: dict[str, Any] = {
    "layers": [
        layer("conv1", "layer", (0.001, 0.001, 0.0), (0.002, 0.005, 0.0)),
        layer("fc", "layer", (0.001, 0.001, 0.0), (0.001, 0.001, 0.0)),
        layer("(optimizer)", "residual", (0.0, 0.0, 0.006), (0.0, 0.0, 0.001)),
    ],
    "operators": [
        operator("aten::mm", 0.001, 0.001) | {"self_device_s": 0.003, "device_s": 0.003},
    ],
    "kernels": [{"kernel": "gemm<>", "operator": "aten::mm", "calls": 4, "device_s": 0.003}],
    "device": {
        "name": "cuda:0",
        "host_s": 0.0098,
        "done_s": 0.021,
        "event_s": 0.02,
        "busy_s": 0.01,
        "waited_s": 0.005,
        "bound_by": "waits",
        "why": "the device idled in 50% of the time, the host waited for it in 25%",
    },
}


def profile(folder: Path, **changes: Any) -> Profile:
    text = json.dumps({**FOUND, **changes})
    (folder / profile_tables.FOUND).write_text(text, encoding="utf-8")
    return profile_tables.load(folder)


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def printed(one: Profile, width: int = 100) -> str:
    console = Console(file=io.StringIO(), width=width)
    profile_summary.show(one, console)
    text = console.file
    assert isinstance(text, io.StringIO)
    return text.getvalue()


def test_layers_are_rows_with_the_share_of_the_whole(tmp_path: Path) -> None:
    profile_tables.write_case(profile(tmp_path))
    rows = table(tmp_path / "layers.csv")
    assert tuple(rows[0]) == tuple(profile_tables.LAYER_COLUMNS)
    assert rows[0]["case_id"] == case(mode="training").case_id
    assert [float(row["host_ratio"]) for row in rows] == pytest.approx([0.6, 0.2, 0.05, 0.05, 0.1])
    assert {row["device_s"] for row in rows} == {""}  # a CPU has none: unknown, not 0


def test_operators_have_their_memory_and_flops_where_known(tmp_path: Path) -> None:
    profile_tables.write_case(profile(tmp_path))
    first, second = table(tmp_path / "operators.csv")
    assert tuple(first) == tuple(profile_tables.OPERATOR_COLUMNS)
    assert (first["self_allocated_bytes"], first["allocated_bytes"]) == ("1000000", "2000000")
    assert (first["flops"], second["flops"]) == ("7", "")
    assert second["self_allocated_bytes"] == "0"
    assert second["operator"] == "'=1"  # no spreadsheet runs it


def test_memory_unknown_is_an_empty_cell_and_no_file(tmp_path: Path) -> None:
    profile_tables.write_case(profile(tmp_path, memory=None, allocated={}))
    assert table(tmp_path / "operators.csv")[0]["allocated_bytes"] == ""
    assert not (tmp_path / "memory.csv").exists()


def test_memory_over_time_is_a_column_a_category(tmp_path: Path) -> None:
    profile_tables.write_case(profile(tmp_path))
    assert table(tmp_path / "memory.csv")[1] == {
        "time_s": "0.001",
        "parameters_bytes": "100",
        "temporary_bytes": "5000000",
    }


def test_the_summary_has_the_residual_and_the_peak(tmp_path: Path) -> None:
    profile_tables.write_case(profile(tmp_path))
    stored = json.loads((tmp_path / "profile.json").read_text())
    assert stored["residual_s"] == pytest.approx(0.0015)
    assert stored["residual_ratio"] == pytest.approx(0.15)
    assert stored["peak"] == {"parameters": 100, "temporary": 5_000_000}
    assert not (tmp_path / "found.json").exists()


def test_kernels_are_listed_where_an_accelerator_ran_them(tmp_path: Path) -> None:
    profile_tables.write_case(profile(tmp_path, **ON_DEVICE))
    (row,) = table(tmp_path / "kernels.csv")
    assert (row["kernel"], row["operator"], row["calls"]) == ("gemm<>", "aten::mm", "4")


def test_the_tables_over_all_cases_join_by_case_id(tmp_path: Path) -> None:
    one = profile(tmp_path)
    other = profile(tmp_path, case=case(mode="inference").as_dict())
    profile_tables.write_all(tmp_path, [one, other])
    assert len({row["case_id"] for row in table(tmp_path / "layers.csv")}) == 2
    assert not (tmp_path / "kernels.csv").exists()


FUSED: list[dict[str, Any]] = [
    {
        "kernel": "cpp_fused_native_batch_norm_relu_0",
        "phase": "forward",
        "kind": "fused",
        "calls": 2,
        "time_s": 0.0012,
        "operators": ["aten::native_batch_norm", "aten::relu"],
        "layers": ["bn1", "relu1"],
    },
    {
        "kernel": "extern_kernels.convolution",
        "phase": "forward",
        "kind": "library",
        "calls": 3,
        "time_s": None,
        "operators": ["aten::convolution"] * 3,
        "layers": ["conv1", "conv2", "conv3"],
    },
]


def test_the_kernels_of_compiled_code_are_rows_and_a_sentence(tmp_path: Path) -> None:
    one = profile(tmp_path, fused=FUSED)
    profile_tables.write_case(one)
    first, second = table(tmp_path / "fused.csv")
    assert tuple(first) == tuple(profile_tables.FUSED_COLUMNS)
    assert (first["operators"], first["layers"]) == (
        "aten::native_batch_norm; aten::relu",
        "bn1; relu1",
    )
    assert (second["calls"], second["time_s"]) == ("3", "")
    assert (
        "compiled: 5 operators run as 5 kernels (3 of libraries); native_batch_norm and relu of "
        "bn1 and relu1 are fused into cpp_fused_native_batch_norm_relu_0 (1.20 ms in the forward)"
    ) in profile_summary.sentences(one)
    assert "fused.csv" in printed(one)


def test_compiled_code_of_which_nothing_is_fused_says_so(tmp_path: Path) -> None:
    said = profile_summary.sentences(profile(tmp_path, fused=FUSED[1:]))
    assert "compiled: 3 operators run as 3 kernels (3 of libraries); none is fused" in said


def test_eager_code_has_no_table_of_fused_kernels(tmp_path: Path) -> None:
    profile_tables.write_case(profile(tmp_path))
    assert not (tmp_path / "fused.csv").exists()


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"case": 3}', "{"])
def test_what_is_no_profile_is_refused_in_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / profile_tables.FOUND).write_text(text)
    with pytest.raises(ProfileReadError, match="is not a profile") as caught:
        profile_tables.load(tmp_path)
    assert "\n" not in str(caught.value)


def test_the_words_name_the_dearest_layer_its_backward_and_the_next(tmp_path: Path) -> None:
    first, second = profile_summary.sentences(profile(tmp_path))[:2]
    assert first == "60 % of the step is in conv1, 40 % in its backward; 20 % in relu"
    assert second == (
        "10.1 ms a profiled step (9.00 ms without the profiler); "
        "15 % of the host's time in no layer (optimizer 10 %, autograd 5 %)"
    )


def test_on_an_accelerator_the_devices_time_counts_and_the_bound_is_said(tmp_path: Path) -> None:
    said = profile_summary.sentences(profile(tmp_path, **ON_DEVICE))
    first = "70 % of the device's time in the step is in conv1, 50 % in its backward; 20 % in fc"
    assert said[0] == first
    assert said[2].startswith("bound by waits: ")
    assert said[2].endswith("(host 9.80 ms, events 20.0 ms, kernels 10.0 ms)")
    text = printed(profile(tmp_path, **ON_DEVICE))
    assert "the slowest layers, device time per step" in text


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("cuda:0", "(CUDA graphs, torch.compile, a larger batch)"),
        ("xpu:0", "(torch.compile, a larger batch)"),
    ],
)
def test_cuda_graphs_are_advised_against_launches_where_there_are_any(
    tmp_path: Path, name: str, advice: str
) -> None:
    device = ON_DEVICE["device"] | {"name": name, "bound_by": "launches"}
    said = profile_summary.sentences(profile(tmp_path, **{**ON_DEVICE, "device": device}))
    assert advice in said[2]


def test_a_device_whose_kernels_are_not_seen_is_told_by_its_events_and_the_hosts_layers(
    tmp_path: Path,
) -> None:
    device = ON_DEVICE["device"] | {"busy_s": None, "waited_s": None, "bound_by": "device"}
    device |= {"why": "the host took 49% of the time to issue it"}
    said = profile_summary.sentences(profile(tmp_path, device=device))
    assert said[0] == "60 % of the step is in conv1, 40 % in its backward; 20 % in relu"
    assert said[2] == (
        "bound by the device: only less or faster work on it helps: the host took 49% of the time "
        "to issue it (host 9.80 ms, events 20.0 ms)"
    )
    by_host = profile_summary.sentences(profile(tmp_path, device=device | {"bound_by": "host"}))
    assert by_host[2].startswith("bound by the host, which launches or waits")
    no_events = profile_summary.sentences(profile(tmp_path, device=device | {"event_s": None}))
    assert no_events[2].endswith("(host 9.80 ms, until done 21.0 ms)")


def test_the_peak_is_told_by_use_the_largest_first(tmp_path: Path) -> None:
    said = profile_summary.sentences(profile(tmp_path))
    assert said[-1] == "peak 5.00 MB: 5.00 MB temporary, 100 B parameters"


def test_what_is_printed_is_narrow_harmless_and_names_the_files(tmp_path: Path) -> None:
    layers = [layer(f"[red]x{number}", "layer", (0.01, 0.0, 0.0)) for number in range(12)]
    text = printed(profile(tmp_path, layers=layers))
    assert "\x1b[31m" not in text
    assert "[red]x" in text
    assert "2 more" in text
    tables, files = text.rsplit("\n", 2)[:2]
    assert max(map(len, tables.splitlines()[-20:])) <= 100
    assert "trace.json.gz, layers.csv, operators.csv, memory.csv, memory.png" in files


def test_on_a_narrow_terminal_the_tables_have_every_figure_whole(tmp_path: Path) -> None:
    one = profile(tmp_path)
    wide, narrow = (
        printed(one, width).partition("the slowest layers")[2].rsplit("\n", 2)[0]
        for width in (100, 40)
    )
    figures = re.findall(r"[0-9.]+ (?:[mµ]?s|%|[kM]?B)", wide)
    assert len(figures) > 10
    assert [one for one in figures if one not in narrow] == []
    assert max(map(len, narrow.splitlines())) <= 40


def test_a_layer_called_often_is_one_line_with_its_calls_and_their_sum(tmp_path: Path) -> None:
    cells = [layer("cell", "layer", (0.001, 0.002, 0.0))]
    cells += [layer(f"cell#{number}", "layer", (0.001, 0.002, 0.0)) for number in range(2, 13)]
    one = profile(tmp_path, layers=[layer("fc", "layer", (0.003, 0.001, 0.0)), *cells])
    one = dataclasses.replace(one, whole_s=0.040)
    assert profile_summary.sentences(one)[0] == (
        "90 % of the step is in the 12 calls of cell, 60 % in its backward; 10 % in fc"
    )
    lines = [line.split() for line in printed(one).splitlines()]
    assert ["cell", "Conv2d", "12", "12.0", "ms", "24.0", "ms", "36.0", "ms", "90", "%"] in lines
    assert ["fc", "Conv2d", "1", "3.00", "ms", "1.00", "ms", "4.00", "ms", "10", "%"] in lines
    assert not any("more" in line for line in lines)
    profile_tables.write_case(one)
    rows = table(tmp_path / "layers.csv")
    assert (rows[2]["layer"], rows[2]["module"]) == ("cell#2", "cell")
    assert len(rows) == 13


def test_the_plot_has_an_area_a_category_and_the_peak(tmp_path: Path) -> None:
    figure = memory_of_step.memory(profile(tmp_path))
    pile, side = figure.axes
    assert [area.get_label() for area in pile.collections] == ["parameters", "temporary"]
    assert "peak 5.00 MB" in [text.get_text() for text in pile.texts]
    listed = [text.get_text() for text in side.texts]
    assert "temporary conv1" in listed
    assert "by x" in listed


def test_the_plot_is_written_as_png_and_svg_whatever_the_names(tmp_path: Path) -> None:
    one = profile(tmp_path, case=case(subject="a$b$<i>").as_dict())
    with draw.rc_context():
        figure = memory_of_step.memory(one)
    draw.save(figure, tmp_path / "memory.png")
    assert (tmp_path / "memory.png").read_bytes().startswith(b"\x89PNG")
    assert "<svg" in (tmp_path / "memory.svg").read_text(encoding="utf-8")


def test_without_memory_there_is_no_plot(tmp_path: Path) -> None:
    with pytest.raises(NothingToDraw, match="not recorded"):
        memory_of_step.memory(profile(tmp_path, memory=None))
