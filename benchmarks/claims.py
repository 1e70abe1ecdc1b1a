"""What is said of each layer of the ConvNet, held against numbers measured here.

    python -m benchmarks.claims                     measures, then writes docs/convnet.md
    python -m benchmarks.claims --run DIR           writes it from a finished run

No figure of the page is typed in: it says what the run and `benchmarks.claims_seen` found.
"""

import argparse
import math
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from matplotlib.figure import Figure
from matplotlib.patches import Patch

from bench.compare.groups import Span
from bench.core import units
from bench.core.records import Row, whole_phase
from bench.insights.insight import factor
from bench.plots.draw import save, style
from bench.plots.sheet import Words, sheet
from bench.plots.style import BLUE, VERMILION, batch_ticks, ruler
from bench.results.load import load
from bench.results.results import Results
from bench.stats import ratios
from bench.stats.intervals import LEVEL
from benchmarks.claims_seen import Seen, look

CONFIG = Path(__file__).with_name("claims.toml")
COMMAND = "python -m benchmarks.claims"
BATCHED = "convnet/bn1"
POOLED, BARE = "convnet", "benchmarks.subjects:without_pooling"
SHAPES = {
    "model.0": (32, 32, 55, 55),
    "model.1": (32, 32, 55, 55),
    "model.2": (32, 32, 55, 55),
    "model.3": (32, 32, 27, 27),
    "model.4": (32, 64, 11, 11),
    "model.5": (32, 64, 11, 11),
    "model.6": (32, 64, 11, 11),
    "model.7": (32, 64, 5, 5),
    "flatten": (32, 1600),
    "fc": (32, 10),
}


@dataclass(frozen=True, slots=True)
class Answer:
    """One claim.  verdict: a word or two, reckoned from the figures."""

    layer: str
    claim: str
    verdict: str
    figures: str


@dataclass(frozen=True, slots=True)
class Run:
    """The rows of whole calls."""

    data: Results
    rows: Mapping[tuple[str, str, int], Row]  # subject, mode, batch

    @classmethod
    def of(cls, data: Results) -> "Run":
        rows = {
            (str(row.subject), str(row.mode), int(row.batch or 0)): row
            for row in data.rows
            if row.status == "ok" and row.phase == whole_phase(str(row.mode))
        }
        return cls(data, rows)

    def row(self, subject: str, mode: str, batch: int) -> Row:
        """Raises SystemExit where the run has none."""
        found = self.rows.get((subject, mode, batch))
        if found is None:
            self._lacks(f"{mode} of {subject} at N={batch}")
        return found

    def by_batch(self, subject: str, mode: str) -> list[Row]:
        """The smallest batch first.  Raises SystemExit where there are not two."""
        batches = sorted(n for (one, of, n) in self.rows if (one, of) == (subject, mode))
        if len(batches) < 2:
            self._lacks(f"{mode} of {subject} at two batch sizes")
        return [self.rows[subject, mode, batch] for batch in batches]

    def _lacks(self, what: str) -> NoReturn:
        raise SystemExit(
            f"{self.data.path}: has no {what} that is ok; give a finished run of {CONFIG.name}, "
            "or none to measure it now"
        )

    def ratio(self, base: Row, value: Row, *, of: int = 1) -> Span:
        """time(base) / time(value), paired by replicate.

        of: so many ratios it was chosen from; the interval is as much wider (Bonferroni).
        """
        one, other = (
            self.data.medians.get((row.run_id, str(row.case_id), str(row.phase), "latency"), {})
            for row in (base, value)
        )
        found = ratios.paired(one, other)
        if found is None:
            raise SystemExit(f"{base.case_id} and {value.case_id} share no replicate")
        low, high = found.interval(1 - (1 - LEVEL) / of) or (None, None)
        return Span(found.ratio, low, high)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, help="a finished run of benchmarks/claims.toml")
    parser.add_argument("--out", type=Path, default=Path("docs"))
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = asked.run or measure(Path(scratch) / "claims")
        run = Run.of(load(folder))
    seen = look()
    asked.out.mkdir(exist_ok=True)
    for name, figure in figures(run, seen).items():
        save(figure, asked.out / f"{name}.png")
    path = asked.out / "convnet.md"
    path.write_text(text(run, seen), encoding="utf-8")
    print(path)


def measure(folder: Path) -> Path:
    """The run; a little over two minutes on two cores."""
    command = [sys.executable, "-m", "bench", "run", "--config", str(CONFIG)]
    subprocess.run([*command, "--out", str(folder)], check=True)
    return folder


def text(run: Run, seen: Seen) -> str:
    """The page."""
    answers = [
        batchnorm_normalises(seen),
        batchnorm_small(seen),
        batchnorm_large(run),
        relu_cheap(run),
        relu_gradient(seen),
        relu_dead(seen),
        pooling_memory(run),
        pooling_by_hand(seen),
        shapes(seen, "Linear", "reduces 64·5·5 features to classes", ("model.7", "flatten", "fc")),
        view(seen),
        shapes(seen, "forward", "every stage has the shape that the notes give it", tuple(SHAPES)),
    ]
    lines = [
        f"| {one.layer} | {one.claim} | **{one.verdict}** | {one.figures} |" for one in answers
    ]
    machine, torch = run.data.description.machine.written(), run.data.description.environment.torch
    where = f"{machine.get('cpu_model')}, {machine.get('cores')} cores, torch {torch}"
    return "\n".join(
        [
            "# What is said of the ConvNet's layers",
            "",
            "Claims of the notes that this network comes from, each answered by numbers. Made by",
            f"`{COMMAND}` (`nox -s claims`) on {where}; intervals are 95 % intervals",
            "over replicates, times those of a single call.",
            "",
            "| layer | claim | answer | figures |",
            "|---|---|---|---|",
            *lines,
            "",
            "![BatchNorm by batch size](convnet-batchnorm.svg)",
            "",
            "![Peak memory with and without pooling](convnet-memory.svg)",
            "",
        ]
    )


# --- answers -----------------------------------------------------------------------------------


def batchnorm_normalises(seen: Seen) -> Answer:
    off = max(seen.mean, abs(seen.variance - 1))
    return Answer(
        "BatchNorm2d",
        "its output has mean 0 and variance 1 in each channel",
        "true, in training mode" if off < 1e-2 else "not found",
        f"bn1 on 512 images: the mean farthest from 0 is {seen.mean:.1e}, the variance farthest "
        f"from 1 differs by {abs(seen.variance - 1):.1e} (eps is 1e-5)",
    )


def batchnorm_small(seen: Seen) -> Answer:
    first, last = min(seen.deviation), max(seen.deviation)
    slope = math.log(seen.deviation[first] / seen.deviation[last]) / math.log(last / first)
    return Answer(
        "BatchNorm2d",
        "a small batch represents the data badly",
        "true" if seen.deviation[first] > 2 * seen.deviation[last] else "not found",
        f"a batch's mean is off by {seen.deviation[first]:.2f} standard deviations at N={first}, "
        f"{seen.deviation[last]:.3f} at N={last}: it falls with N to the power {-slope:.2f} "
        "(−0.5 is that of independent images)",
    )


def per_image_s(row: Row) -> float:
    """Seconds of a call, by image."""
    return (row.latency_median_s or math.nan) / (row.batch or 1)


def batchnorm_large(run: Run) -> Answer:
    rows = run.by_batch(BATCHED, "training")
    best = min(rows, key=per_image_s)
    last = rows[-1]
    ratio = run.ratio(last, best, of=len(rows) - 1)
    scale = (best.batch or 1) / (last.batch or 1)
    low, high = (None if end is None else end * scale for end in (ratio.low, ratio.high))
    span = Span(ratio.value * scale, low, high)
    worse = low is not None and low > 1
    return Answer(
        "BatchNorm2d",
        "a large batch parallelises badly",
        "true here" if worse else "no difference found",
        f"a training step of bn1 takes {units.seconds(per_image_s(rows[0]))} an image at "
        f"N={rows[0].batch}, {units.seconds(per_image_s(best))} at N={best.batch} and "
        f"{units.seconds(per_image_s(last))} at N={last.batch}: {factor(span)} as long as at "
        f"N={best.batch}, the interval widened for the choice of the best of {len(rows)}",
    )


def relu_cheap(run: Run) -> Answer:
    told, cheaper = [], True
    for relu in run.by_batch("torch.nn:ReLU", "inference"):
        batch = relu.batch or 0
        sigmoid = run.row("torch.nn:Sigmoid", "inference", batch)
        span = run.ratio(sigmoid, relu)
        cheaper &= span.low is not None and span.low > 1
        told.append(
            f"at N={batch} {units.seconds(relu.latency_median_s)} against "
            f"{units.seconds(sigmoid.latency_median_s)}, {factor(span)} as long"
        )
    return Answer(
        "ReLU",
        "cheap next to a sigmoid",
        "true" if cheaper else "no difference found at every batch size",
        f"(N, 32, 55, 55), forward: {'; '.join(told)}",
    )


def relu_gradient(seen: Seen) -> Answer:
    return Answer(
        "ReLU",
        "its gradient is 0 or 1",
        "true" if seen.gradients == (0.0, 1.0) else "not found",
        f"at −2, −0.5, 0.5 and 3 it takes the values {numbers(seen.gradients)}",
    )


def relu_dead(seen: Seen) -> Answer:
    return Answer(
        "ReLU",
        "negative inputs learn nothing (dead units)",
        "true" if seen.killed == 0 < seen.alive else "not found",
        f"a bias of −100 in bn1 leaves one unit no positive input: the largest gradient of its "
        f"weights in conv1 is {seen.killed:g}, that of the other 31 units at least "
        f"{seen.alive:.2g}. In an untrained network {100 * seen.dead:.1f} % of relu1's units get "
        "no gradient from any of 32 images",
    )


def pooling_memory(run: Run) -> Answer:
    told, less = [], True
    for mode in ("inference", "training"):
        with_, without = (run.row(subject, mode, 32).peak_bytes for subject in (POOLED, BARE))
        if not with_ or not without:
            raise SystemExit("a peak is unknown: measure again")
        less &= with_ < without
        told.append(
            f"{mode} {units.bytes_(with_)} with, {units.bytes_(without)} without "
            f"(×{without / with_:.2f})"
        )
    return Answer(
        "MaxPool2d",
        "feature maps eat memory, pooling compresses them",
        "true" if less else "not found",
        f"peak at N=32: {'; '.join(told)}",
    )


def pooling_by_hand(seen: Seen) -> Answer:
    kept = [one for row in seen.pooled for one in row]
    return Answer(
        "MaxPool2d",
        "and loses information",
        "true" if seen.pooled == ((5.0, 7.0), (13.0, 15.0)) else "not found",
        f"of the numbers 0 … 15 on 4 × 4 it keeps {numbers(kept)}: {16 - len(kept)} of 16 are lost",
    )


def numbers(values: Sequence[float]) -> str:
    return ", ".join(f"{one:g}" for one in values)


def view(seen: Seen) -> Answer:
    fits = [name for name, found in seen.views.items() if found == SHAPES["flatten"]]
    told = [
        f"{name} {'gives' if isinstance(found, tuple) else 'raises'} {found}"
        for name, found in seen.views.items()
    ]
    instead = ", ".join(f"{name} {found}" for name, found in seen.flattened.items())
    if len(fits) == len(seen.views):
        verdict = "true"
    else:
        verdict = f"true for {' and '.join(fits)} alone" if fits else "not found"
    return Answer(
        "forward",
        "`view` fixes the batch dimension and fills in the rest",
        verdict,
        f"`x.view(x.size(0), -1)` of (32, 64, 5, 5): {'; '.join(told)}. The network calls "
        f"`torch.flatten(x, 1)`: {instead}",
    )


def shapes(seen: Seen, layer: str, claim: str, stages: Sequence[str]) -> Answer:
    right = all(seen.shapes[name] == SHAPES[name] for name in stages)
    return Answer(
        layer,
        claim,
        "true" if right else "not found",
        " → ".join(str(seen.shapes[name]) for name in stages),
    )


# --- plots -------------------------------------------------------------------------------------


def figures(run: Run, seen: Seen) -> dict[str, Figure]:
    """By file name."""
    with style():
        return {"convnet-batchnorm": batchnorm(run, seen), "convnet-memory": memory(run)}


def batchnorm(run: Run, seen: Seen) -> Figure:
    """Time by image, and how far a batch's mean is off, over the batch size."""
    page = sheet(
        Words(
            "Which batch suits BatchNorm?",
            "bn1 of the ConvNet, (N, 32, 55, 55); bars: 95 % interval over replicates",
            f"made by {COMMAND}",
        ),
        [2.8, 2.4],
        1,
        panel_in=6.0,
    )
    (speed,), (off,) = page.panels
    batches = sorted(seen.deviation)
    for mode, color, marker in (("training", VERMILION, "^"), ("inference", BLUE, "s")):
        rows = run.by_batch(BATCHED, mode)
        xs = [row.batch or 1 for row in rows]
        speed.plot(xs, [per_image_s(row) for row in rows], color=color, marker=marker, label=mode)
        for row in rows:
            if row.latency_low_s and row.latency_high_s:
                n = row.batch or 1
                speed.vlines(n, row.latency_low_s / n, row.latency_high_s / n, color=color)
    speed.set_yscale("log")
    low, high = speed.get_ylim()
    ruler(speed.yaxis, low, high, units.seconds)
    speed.set_ylabel("time per image")
    speed.legend()
    off.plot(batches, [seen.deviation[n] for n in batches], color=VERMILION, marker="o")
    off.set_yscale("log")
    low, high = off.get_ylim()
    ruler(off.yaxis, low, high, lambda value: f"{value:.2g}")
    off.set_ylabel("batch mean off by\n(standard deviations)")
    off.set_xlabel("batch (images per call)")
    for axes in (speed, off):
        batch_ticks(axes, batches)
        axes.grid(visible=True)
    return page.figure


def memory(run: Run) -> Figure:
    """Peak memory, with the poolings and without."""
    sides = ((POOLED, BLUE, "with pooling"), (BARE, VERMILION, "without"))
    page = sheet(
        Words(
            "What do the two poolings save?",
            "peak memory of the ConvNet with its poolings and without",
            f"made by {COMMAND}",
        ),
        [2.6],
        1,
        panel_in=6.0,
        label_in=0.9,
        legend=[Patch(color=color, label=word) for _, color, word in sides],
    )
    ((axes,),) = page.panels
    names = []
    for place, (mode, batch) in enumerate(
        (m, n) for m in ("inference", "training") for n in (8, 32)
    ):
        names.append(f"{mode}, N={batch}")
        for shift, (subject, color, _) in zip((-0.19, 0.19), sides, strict=True):
            peak = run.row(subject, mode, batch).peak_bytes or 0
            axes.barh(place + shift, peak, 0.34, color=color)
            axes.annotate(f" {units.bytes_(peak)}", (peak, place + shift), va="center")
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_xlim(0, axes.get_xlim()[1] * 1.12)
    axes.xaxis.set_major_formatter(lambda value, _: units.bytes_(value) if value else "0")
    return page.figure


if __name__ == "__main__":
    main()
