"""The plots of a run: what is drawn, from what, and what is said of the rest."""

import dataclasses
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.container import BarContainer
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text

from bench.compare import speedup
from bench.compare.groups import groups, label
from bench.compare.setting_speedup import against_plain
from bench.core.records import Case, Entry, Failure, Measurement, Samples, StaticMetrics
from bench.plots import draw
from bench.results.loading import load
from bench.results.results import Results
from tests.support import synthetic
from tests.support.cases import case
from tests.support.figures import captions, legends
from tests.support.results import replicates, run_of

RNG = random.Random(7)
SETTINGS = ["plain", "amp bfloat16", "channels_last", "compile default", "as a plain process"]


@pytest.fixture(scope="module")
def on_cpu(tmp_path_factory: pytest.TempPathFactory) -> Results:
    folder = tmp_path_factory.mktemp("cpu") / "a-run"
    return run_of(folder, synthetic.entries(), layers=synthetic.LISTED)


@pytest.fixture(scope="module")
def on_both(tmp_path_factory: pytest.TempPathFactory) -> Results:
    folder = tmp_path_factory.mktemp("both") / "a-run"
    return run_of(folder, synthetic.entries(gpu=True), layers=synthetic.LISTED)


@pytest.fixture(scope="module")
def cpu(on_cpu: Results) -> dict[str, Figure]:
    return draw.build(on_cpu)[0]


@pytest.fixture(scope="module")
def both(on_both: Results) -> dict[str, Figure]:
    return draw.build(on_both)[0]


def panels(figure: Figure) -> dict[str, Axes]:
    return {str(axes.get_label()): axes for axes in figure.axes}


def named(axes: Axes, name: str) -> Line2D:
    return next(line for line in axes.lines if line.get_label() == name)


def xs(line: Line2D) -> list[float]:
    return [float(value) for value in np.asarray(line.get_xdata())]


def ys(line: Line2D) -> list[float]:
    return [float(value) for value in np.asarray(line.get_ydata())]


def rows_of(figure: Figure) -> list[str]:
    """The tick labels that stand left of the first panel."""
    return [tick.get_text() for tick in figure.axes[0].get_yticklabels()]


def names(axes: Axes) -> list[str]:
    return [str(line.get_label()) for line in axes.lines if str(line.get_label())[0] != "_"]


def texts(figure: Figure) -> str:
    """All that is written, without its line breaks."""
    found = (text.get_text() for text in figure.findobj(Text) if isinstance(text, Text))
    return " ".join(" ".join(found).split())


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for one in legends(figure) for text in one.get_texts()]


def drawn_from(tmp_path: Path, entries: list[Entry], **run: Any) -> tuple[dict[str, Figure], str]:
    """The figures of a run, and why others are missing."""
    figures, reasons = draw.build(run_of(tmp_path / "a-run", entries, **run))
    return figures, "\n".join(reasons)


def times(one: Case, time_s: float, count: int = 5) -> list[Entry]:
    """Of a case whose result was verified."""
    verified = StaticMetrics(case=one, metrics={"relative_error": 1e-7})
    return [verified, *replicates(one, [time_s * (1 + 0.01 * at) for at in range(count)])]


def measured_row(run: Results, **wanted: Any) -> Any:
    rows = run.frame
    for name, value in wanted.items():
        rows = rows[rows[name] == value]
    assert len(rows) == 1
    return rows.iloc[0]


PLAIN = {
    "subject": "convnet",
    "memory_format": "contiguous",
    "amp": "off",
    "compile": "off",
    "allocator": "retained",
}


def test_a_run_on_one_device_gives_five_plots_and_says_why_there_are_no_more(
    on_cpu: Results,
) -> None:
    figures, reasons = draw.build(on_cpu)
    assert list(figures) == ["latency", "throughput", "gain", "layers", "memory"]
    assert reasons == [
        "roofline: no layers beside measured peaks of the machine",
        "devices: no subject was measured on both the CPU and an accelerator",
    ]


def test_a_run_on_two_devices_gives_all_six_plots(both: dict[str, Figure]) -> None:
    assert list(both) == ["latency", "throughput", "gain", "layers", "memory", "devices"]


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("latency", "latency of one call (median)"),
        ("throughput", "throughput, back to back (images/s)"),
        ("memory", "peak memory (allocated)"),
    ],
)
def test_a_scaling_plot_has_a_panel_per_mode_and_a_line_per_setting(
    cpu: dict[str, Figure], name: str, what: str
) -> None:
    found = panels(cpu[name])
    assert list(found) == ["inference cpu", "training cpu"]
    for axes in found.values():
        assert names(axes) == SETTINGS
        assert axes.get_xlabel() == "batch (images per call)"
        assert axes.get_xscale() == "log"
        assert axes.get_yscale() == "log"
        assert list(axes.get_xticks()) == [1, 8, 32]
    assert found["inference cpu"].get_ylabel() == what
    assert legend(cpu[name]) == SETTINGS


def test_the_lines_are_the_columns_of_the_rows(on_cpu: Results, cpu: dict[str, Figure]) -> None:
    for name, column in (
        ("latency", "latency_median_s"),
        ("throughput", "images_per_s"),
        ("memory", "peak_bytes"),
    ):
        line = named(panels(cpu[name])["training cpu"], "plain")
        assert ys(line) == [
            measured_row(on_cpu, mode="training", phase="step", batch=batch, **PLAIN)[column]
            for batch in (1, 8, 32)
        ]


def test_settings_stand_side_by_side_and_near_their_batch(cpu: dict[str, Figure]) -> None:
    axes = panels(cpu["latency"])["inference cpu"]
    at_8 = [xs(named(axes, name))[1] for name in SETTINGS]
    assert at_8 == sorted(at_8)
    assert len(set(at_8)) == 5
    assert all(7 < x < 9 for x in at_8)


def test_no_two_settings_share_colour_marker_or_line_style(cpu: dict[str, Figure]) -> None:
    axes = panels(cpu["latency"])["inference cpu"]
    lines = [named(axes, name) for name in SETTINGS]
    points = [line for line in axes.lines if line.get_marker() != "None"]
    assert len({str(line.get_color()) for line in lines}) == 5
    assert len({str(line.get_marker()) for line in points}) == 5


def test_intervals_are_drawn_where_the_replicates_give_one(
    on_cpu: Results, cpu: dict[str, Figure]
) -> None:
    row = measured_row(on_cpu, mode="inference", phase="forward", batch=8, **PLAIN)
    spans = [
        tuple(float(y) for y in segment[:, 1])
        for lines in panels(cpu["throughput"])["inference cpu"].collections
        for segment in lines.get_segments()  # type: ignore[attr-defined]
    ]
    assert (8 / row["pipelined_high_s"], 8 / row["pipelined_low_s"]) in spans


def test_one_replicate_is_a_point_without_an_interval(tmp_path: Path) -> None:
    figures, reasons = drawn_from(tmp_path, times(case(), 0.009, count=1))
    axes = panels(figures["latency"])["inference cpu"]
    assert list(axes.collections) == []
    assert "95 %" not in texts(figures["latency"])
    assert "gain: no setting was measured beside the plain one" in reasons


def test_every_title_names_the_quantity_and_says_in_words_what_is_shown(
    both: dict[str, Figure],
) -> None:
    assert {name: captions(figure)[0].get_text() for name, figure in both.items()} == {
        "latency": "Latency: how long one call of convnet takes",
        "throughput": "Throughput: how many images per second convnet processes",
        "gain": "Speedup: how much faster or slower each setting makes convnet",
        "layers": "Time per layer: where convnet spends its time",
        "memory": "Peak memory: how much memory convnet needs",
        "devices": "Devices: how fast convnet runs on the CPU and on accelerators",
    }


def test_every_figure_says_device_version_replicates_and_run(both: dict[str, Figure]) -> None:
    for figure in both.values():
        said = texts(figure)
        for part in ("AMD EPYC", "NVIDIA H200", "torch 2.13.0", "5 replicates", "run a-run"):
            assert part in said


def test_the_footer_says_what_plain_means(cpu: dict[str, Figure]) -> None:
    said = "plain: amp off, contiguous, compile off, allocator retained"
    assert said in texts(cpu["gain"])


def test_one_batch_size_gives_a_row_per_setting_with_its_value(tmp_path: Path) -> None:
    entries = times(case(), 0.009) + times(case(memory_format="channels_last"), 0.006)
    figures, _ = drawn_from(tmp_path, entries)
    axes = panels(figures["latency"])["inference cpu"]
    assert rows_of(figures["latency"]) == ["plain", "channels_last"]
    assert axes.get_xlabel() == "latency of one call (median)"
    assert [text.get_text() for text in axes.texts] == ["9.18 ms", "6.12 ms"]
    assert "batch 8" in texts(figures["latency"])


def test_a_gain_is_the_paired_ratio_to_the_plain_setting(
    on_cpu: Results, cpu: dict[str, Figure]
) -> None:
    gains = {
        (gain.base_case_id, gain.value_case_id): gain
        for gain in speedup.within(on_cpu, "memory_format")
        if gain.phase == "step" and gain.subject == "convnet"
    }
    assert len(gains) == 3
    marks = [
        xs(line)[0]
        for line in panels(cpu["gain"])["training cpu"].lines
        if line.get_label() == "channels_last"
    ]
    assert sorted(marks) == pytest.approx(sorted(gain.ratio for gain in gains.values()))


def test_gains_are_grouped_by_batch_with_a_line_at_one(cpu: dict[str, Figure]) -> None:
    axes = panels(cpu["gain"])["inference cpu"]
    labels = rows_of(cpu["gain"])
    assert labels == [one for batch in (1, 8, 32) for one in (f"batch {batch}", *SETTINGS[1:])]
    assert any(xs(line) == [1, 1] for line in axes.lines)
    assert axes.get_xscale() == "log"
    assert axes.get_xlabel().split() == ["◀", "slower", "speedup", "over", "plain", "faster", "▶"]


def test_two_changed_settings_are_compared_with_the_plain_one(tmp_path: Path) -> None:
    entries = [
        *times(case(), 0.008),
        *times(case(amp="bfloat16"), 0.004),
        *times(case(amp="bfloat16", memory_format="channels_last"), 0.002),
    ]
    run = run_of(tmp_path / "a-run", entries)
    (group,) = groups(run.rows)
    found = list(against_plain(group, run.medians))
    assert [label(one.setting) for one in found] == [
        "amp bfloat16",
        "amp bfloat16, channels_last",
    ]
    assert [one.span.value for one in found] == pytest.approx([2, 4])


@pytest.mark.parametrize("up", [0.97, 1.03])
def test_a_gain_whose_interval_holds_one_claims_nothing(tmp_path: Path, up: float) -> None:
    entries = [
        *replicates(case(), [0.010, 0.011, 0.010, 0.011, 0.010]),
        *replicates(case(amp="bfloat16"), [up * t for t in (0.011, 0.010, 0.011, 0.010, 0.0105)]),
    ]
    figures, _ = drawn_from(tmp_path, entries)
    assert legend(figures["gain"])[0] == "no difference found"
    assert not {"faster", "slower"} & set(legend(figures["gain"]))


def test_layers_stand_in_the_order_of_the_network_whatever_the_rows(tmp_path: Path) -> None:
    entries = synthetic.entries()
    RNG.shuffle(entries)
    figures, _ = drawn_from(tmp_path, entries, layers=synthetic.LISTED)
    assert rows_of(figures["layers"]) == list(synthetic.LAYERS)


def test_a_layer_is_a_bar_of_forward_and_backward_end_to_end(
    on_cpu: Results, cpu: dict[str, Figure]
) -> None:
    found = panels(cpu["layers"])
    bars = [
        bar.patches[0] for bar in found["training cpu"].containers if isinstance(bar, BarContainer)
    ]
    assert len(bars) == 20
    first = {
        phase: measured_row(on_cpu, subject="convnet/conv1", mode="training", phase=phase)
        for phase in ("forward", "backward")
    }
    assert bars[0].get_width() == first["forward"]["latency_median_s"]
    assert bars[1].get_x() == bars[0].get_width()
    assert bars[1].get_width() == pytest.approx(first["backward"]["latency_median_s"])
    assert len(found["inference cpu"].containers) == 10
    assert found["training cpu"].get_xlabel() == "latency of one call (median)"


def test_layers_on_an_accelerator_are_those_between_events(
    on_both: Results, both: dict[str, Figure]
) -> None:
    axes = panels(both["layers"])["training cuda:0"]
    row = measured_row(
        on_both, subject="convnet/conv1", mode="training", phase="backward", device="cuda:0"
    )
    widths = [bar.patches[0].get_width() for bar in axes.containers]  # type: ignore[attr-defined]
    assert row["device_s"] in widths
    assert axes.get_xlabel() == "device time of one call (median)"


def test_of_300_layers_the_40_slowest_are_drawn_and_it_says_so(tmp_path: Path) -> None:
    entries: list[Entry] = []
    for at in range(300):
        entries += times(case(subject=f"net:N/block.{at}"), 1e-4 * (1 + at), count=1)
    listed = {"net:N": [{"name": f"block.{at}", "alias": None} for at in range(300)]}
    figures, _ = drawn_from(tmp_path, entries, layers=listed)
    shown = rows_of(figures["layers"])
    assert shown == [f"block.{at}" for at in range(260, 300)]
    assert "the 40 slowest of 300 layers" in texts(figures["layers"])


def test_equal_layers_are_drawn_once_and_counted_in_the_share(tmp_path: Path) -> None:
    entries = times(case(subject="net:N/a"), 1e-3) + times(case(subject="net:N/b"), 1e-3)
    listed = {
        "net:N": [
            {"name": "a", "alias": None, "same_as": ["a2", "a3"]},
            {"name": "b", "alias": None, "same_as": []},
        ]
    }
    figures, _ = drawn_from(tmp_path, entries, layers=listed)
    axes = panels(figures["layers"])["inference cpu"]
    assert rows_of(figures["layers"]) == ["a ×3", "b"]
    assert [text.get_text()[-4:] for text in axes.texts] == ["75 %", "25 %"]


def test_devices_are_compared_by_their_paired_times(
    on_both: Results, both: dict[str, Figure]
) -> None:
    found = panels(both["devices"])
    assert list(found) == [
        "inference images/s",
        "training images/s",
        "inference gain",
        "training gain",
    ]
    speed = named(found["training images/s"], "cuda:0 plain")
    row = measured_row(
        on_both,
        subject="convnet",
        mode="training",
        phase="step",
        batch=32,
        device="cuda:0",
        memory_format="contiguous",
        amp="off",
        compile="off",
    )
    assert ys(speed)[2] == row["images_per_s"]
    ratio = named(found["training gain"], "cuda:0 plain")
    assert 145 < ys(ratio)[2] < 165
    assert found["inference gain"].get_ylabel() == "speedup over the CPU"


def test_rows_that_are_not_ok_are_left_out_and_counted(tmp_path: Path) -> None:
    entries = [
        *times(case(), 0.009),
        *times(case(batch=1), 0.002),
        Failure(case=case(batch=32), replicate=0, status="oom", reason="no"),
        Failure(case=case(batch=64), replicate=0, status="oom", reason="no"),
        Failure(case=case(batch=128), replicate=0, status="crash", reason="no"),
    ]
    figures, _ = drawn_from(tmp_path, entries)
    axes = panels(figures["latency"])["inference cpu"]
    assert xs(named(axes, "plain")) == [1, 8]
    said = texts(figures["latency"])
    assert "3 cases not shown: 2 oom, 1 crash" in said


def test_cases_without_a_figure_are_counted(tmp_path: Path) -> None:
    peak = StaticMetrics(case=case(), metrics={"peak_bytes": 10**6})
    entries = [peak, *times(case(), 0.009), *times(case(amp="bfloat16"), 0.004)]
    figures, _ = drawn_from(tmp_path, entries)
    assert "1 case not shown: no peak memory" in texts(figures["memory"])
    assert "not shown" not in texts(figures["latency"])


def test_layers_without_a_device_time_are_counted(tmp_path: Path) -> None:
    on_gpu = {
        "device": "cuda:0", "cudnn_benchmark": "off", "tf32": "off", "threads": None,
        "allocator": None,
    }  # fmt: skip
    entries = [
        Measurement(
            case=case(subject=f"net:N/{layer}", **on_gpu),
            replicate=number,
            samples=(Samples(phase="forward", kind=kind, calls_per_sample=1, times_s=(0.001,)),),
        )
        for layer, kind in (("a", "device"), ("b", "device"), ("c", "latency"))
        for number in range(3)
    ]
    figures, _ = drawn_from(tmp_path, list(entries))
    assert rows_of(figures["layers"]) == ["a", "b"]
    assert "1 layer not shown: no device time" in texts(figures["layers"])


def test_a_flagged_row_has_a_hollow_marker_that_the_legend_explains(tmp_path: Path) -> None:
    doubted: list[Entry] = [
        dataclasses.replace(one, flags=("contended",)) if isinstance(one, Measurement) else one
        for one in times(case(batch=1), 0.002)
    ]
    figures, _ = drawn_from(tmp_path, [*doubted, *times(case(), 0.009)])
    axes = panels(figures["latency"])["inference cpu"]
    points = [line for line in axes.lines if line.get_marker() == "o"]
    assert [line.get_markerfacecolor() for line in points] == ["white", "#000000"]
    assert legend(figures["latency"])[-1] == "hollow: contended"


def test_of_40_settings_eight_are_named_and_the_rest_are_counted(tmp_path: Path) -> None:
    entries: list[Entry] = []
    for at in range(40):
        for batch in (1, 8):
            threads = str(at + 1)
            time_s = 1e-3 * batch * (41 - at)
            entries += times(case(batch=batch, threads=threads), time_s, count=1)
    figures, _ = drawn_from(tmp_path, entries)
    shown = legend(figures["latency"])
    assert shown[:8] == ["plain", *(f"threads {at}" for at in range(34, 41))]
    assert shown[8] == "32 other settings"
    assert len(names(panels(figures["latency"])["inference cpu"])) == 40


def test_a_single_setting_without_a_name_is_counted_as_one(tmp_path: Path) -> None:
    entries = [
        entry
        for batch in (1, 8)
        for threads in ("auto", *map(str, range(1, 9)))
        for entry in times(case(batch=batch, threads=threads), 0.01)
    ]
    figures, _ = drawn_from(tmp_path, entries)
    assert legend(figures["latency"])[-1] == "1 other setting"


def test_the_plain_setting_is_among_the_rows_that_are_drawn_of_many(tmp_path: Path) -> None:
    entries = times(case(), 0.1)
    for number in range(1, 60):
        entries += times(case(threads=str(number)), 0.01 + 0.0001 * number)
    figures, _ = drawn_from(tmp_path, entries)
    rows = rows_of(figures["latency"])
    assert rows[:2] == ["plain", "threads 1"]
    assert len(rows) == 40
    assert "plain and the 39 best of 60 settings" in texts(figures["latency"])


def test_what_all_rows_share_is_said_once_and_is_no_setting(tmp_path: Path) -> None:
    entries = [
        one
        for threads in ("2", "10")
        for batch in (1, 8)
        for one in times(
            case(batch=batch, threads=threads, memory_format="channels_last"), 1e-3 * batch
        )
    ]
    figures, _ = drawn_from(tmp_path, entries)
    assert legend(figures["latency"]) == ["plain", "threads 10"]
    assert "all with channels_last" in texts(figures["latency"])


def test_several_subjects_and_inputs_have_a_figure_each(tmp_path: Path) -> None:
    entries = [
        *times(case(), 0.009),
        *times(case(subject="torch.nn:ReLU", input="3,64,64"), 0.001),
        *times(case(subject="torch.nn:ReLU", input="10:int64<1000"), 0.001),
    ]
    figures, _ = drawn_from(tmp_path, entries)
    assert [name for name in figures if name.startswith("latency")] == [
        "latency-convnet",
        "latency-torch.nn-ReLU-3-64-64",
        "latency-torch.nn-ReLU-10-int64-1000",
    ]


def test_subjects_whose_names_make_one_file_name_do_not_overwrite_each_other(
    tmp_path: Path,
) -> None:
    entries = times(case(subject="a:B('x')"), 0.009) + times(case(subject="a:B('x',)"), 0.009)
    figures, _ = drawn_from(tmp_path, entries)
    assert len([name for name in figures if name.startswith("latency")]) == 2


@pytest.mark.parametrize(
    "text",
    ["convnet", "../../etc/passwd", "a b;rm -rf $HOME", "ü/λ", "", "x" * 500, ".hidden", "-n"],
)
def test_a_slug_is_a_plain_file_name(text: str) -> None:
    found = draw.slug(text)
    assert 0 < len(found) <= 60
    assert set(found) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
    assert found[0] not in ".-"


@pytest.mark.filterwarnings("error")
def test_odd_names_are_drawn_as_they_are_and_never_as_formulas(tmp_path: Path) -> None:
    name = r"pkg.mod:Net('$\frac{a', '%<&>_^#~')"
    entries = [
        *times(case(subject=name), 0.009),
        *times(case(subject=f"{name}/layer_$x^$"), 0.009),
        *times(case(subject="网:Net"), 0.009),
    ]
    figures, _ = drawn_from(tmp_path, entries, devices={"cpu": "a $5_CPU^ & more"})
    assert name in texts(figures["layers"])
    drawn = draw.draw(load(tmp_path / "a-run"))
    assert [path.name for path in drawn if "layers" in path.name] == ["layers.png"]


def test_a_run_of_failures_alone_draws_nothing_and_says_six_times_why(tmp_path: Path) -> None:
    failure = Failure(case=case(), replicate=0, status="crash", reason="ended by SIGSEGV")
    figures, reasons = drawn_from(tmp_path, [failure])
    assert figures == {}
    assert [reason.partition(":")[0] for reason in reasons.splitlines()] == list(draw.PLOTS)


def test_drawing_writes_a_png_and_an_svg_each_and_clears_old_ones(tmp_path: Path) -> None:
    run_of(tmp_path / "a-run", times(case(), 0.009))
    folder = tmp_path / "a-run" / "plots"
    folder.mkdir()
    for old in ("gain.png", "latency-other.svg", "mine.png"):
        (folder / old).write_bytes(b"")
    drawn = draw.draw(load(tmp_path / "a-run"))
    assert [path.name for path in drawn] == ["latency.png", "throughput.png"]
    assert sorted(path.name for path in folder.iterdir()) == [
        "latency.png",
        "latency.svg",
        "mine.png",
        "throughput.png",
        "throughput.svg",
    ]
    assert (folder / "latency.png").read_bytes().startswith(b"\x89PNG")
    assert "<svg" in (folder / "latency.svg").read_text(encoding="utf-8")


def test_the_same_run_gives_the_same_files(tmp_path: Path) -> None:
    for name in ("one", "two"):
        draw.draw(run_of(tmp_path / name / "a-run", times(case(), 0.009)))
    for end in ("png", "svg"):
        one, two = (tmp_path / n / "a-run" / "plots" / f"latency.{end}" for n in ("one", "two"))
        assert one.read_bytes() == two.read_bytes()


def test_a_run_without_run_json_or_samples_is_drawn_from_its_rows(tmp_path: Path) -> None:
    run_of(tmp_path / "a-run", times(case(), 0.009) + times(case(amp="bfloat16"), 0.004))
    (tmp_path / "a-run" / "samples.csv").unlink()
    (tmp_path / "a-run" / "run.json").write_text("{}", encoding="utf-8")
    drawn = draw.draw(load(tmp_path / "a-run"))
    assert [path.name for path in drawn] == ["latency.png", "throughput.png", "gain.png"]
