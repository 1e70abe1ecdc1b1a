"""Findings in sentences, and the commands that repeat their comparisons."""

import math
from collections.abc import Sequence

from bench.core import units
from bench.core.axes import AXES
from bench.core.row_names import CaseNames, case_names
from bench.core.text import command, number_of
from bench.history.findings import Finding
from bench.history.series import Series
from bench.stats.steps import Level

FIRST_MARKS = ("torch", "CUDA", "cuDNN", "driver", "kernel", "Python")  # before the others
BYTES = "_bytes"


def names_of(series: Sequence[Series]) -> CaseNames:
    """Return how to name the cases of these series."""
    return case_names([one.row for one in series])


def name(series: Series, names: CaseNames, *, apart: bool) -> str:
    """Return the name of a series.  apart: with its machine, since others have the case as well."""
    return names.of(series.row) + (f" on {series.kind}" if apart else "")


def has_several_machines(series: Sequence[Series]) -> bool:
    return len({one.machine for one in series}) > 1


def title(series: Series) -> str:
    """`AMD EPYC (machine 7f16a65f), 5 replicates of 0.35 s`: which series a table has."""
    own = series.sampling
    time = "" if own.samples_s is None else f" of {own.samples_s} s"
    parts = [f"{own.replicates} replicates{time}"]
    parts += [f"isolation {own.isolation}"] if own.isolation != "process" else []
    parts += ["parallel devices"] if own.parallel_devices else []
    parts += [f"wait policy {own.wait_policy}"] if own.wait_policy != "default" else []
    return f"{series.kind} (machine {series.machine[:8]}), {', '.join(parts)}"


def change(finding: Finding) -> str:
    """`10.2 % slower (8.1 to 12.4)`."""
    step = finding.step
    size, ends = math.expm1(step.log), sorted(map(math.expm1, (step.low, step.high)))
    word = "slower" if finding.is_slower else "faster"
    if not finding.is_slower:  # the share of the time that is gone
        size, ends = -size, sorted(-one for one in ends)
    low, high = (f"{100 * one:.1f}" for one in ends)
    return f"{100 * size:.1f} % {word} ({low} to {high})"


def place(finding: Finding) -> str:
    """Return where the change is: a commit, the commits between two runs, or none."""
    before, after = finding.before.commit, finding.after.commit
    if finding.commits == 0:
        return f"at {after.short}, between two runs of the same commit"
    if finding.commits == 1:
        return f"since {after.short} ({after.date}: {after.subject})"
    count = number_of(finding.commits, "commit")
    return f"somewhere after {before.short} and up to {after.short} ({count}, {after.date})"


def around(finding: Finding) -> str:
    """`torch changed there from 2.12 to 2.13`; empty if nothing around the code changed."""
    order = [one for one in FIRST_MARKS if one in finding.marks]
    order += [one for one in finding.marks if one not in FIRST_MARKS]
    changed = [f"{one} from {finding.marks[one][0]} to {finding.marks[one][1]}" for one in order]
    return f"{', '.join(changed)} changed there, too" if changed else ""


def explained(finding: Finding) -> str:
    """`operators 41 → 44`: counted figures that changed at the same place."""
    parts = []
    for figure, (old, new) in finding.counted.items():
        show = units.bytes_ if figure.endswith(BYTES) else units.count
        parts.append(f"{figure.removesuffix(BYTES).replace('_', ' ')} {show(old)} → {show(new)}")
    return ", ".join(parts)


def sentence(finding: Finding, shown: str) -> str:
    """Return the finding in words.  shown: the name of its series."""
    step = finding.step
    marks = around(finding)
    parts = [
        f"{marks}: " if marks and finding.commits == 0 else "",
        f"{shown} is {change(finding)} {place(finding)}: ",
        f"{_level(step.before)} before, {_level(step.after)} after",
    ]
    if marks and finding.commits:
        parts.insert(1, f"{marks}. ")
    text = "".join(parts)
    if why := explained(finding):
        text += f"; counted: {why}"
    match finding.confirmation:
        case "confirmed":
            return f"{text}; confirmed: {finding.told}"
        case "taken back":
            return f"taken back ({finding.told}): {text}"
        case "undecided":
            return f"{text}; not confirmed: {finding.told}"
    return f"suspect: {text}"


def _level(level: Level) -> str:
    return f"{units.seconds(math.exp(level.centre))} in {number_of(level.runs, 'run')}"


def asked_of(finding: Finding) -> dict[str, str]:
    """Return the axes of the case of a finding, by name."""
    return _axes(finding.series)


def _axes(series: Series) -> dict[str, str]:
    """Return what a command has to ask for; an input of the subject's own needs no flag."""
    row = series.row
    on_cpu = row.device == "cpu"
    return {
        axis.name: str(value)
        for axis in AXES
        if (value := getattr(row, axis.name)) is not None
        and value != "own"
        and axis.means_something(mode=str(row.mode), on_cpu=on_cpu, cudnn=True, tf32=True)
    }


def _flags(series: Series) -> list[str]:
    """Return the flags of a command for this case; those of plain values are left out."""
    own = _axes(series)
    plain = {axis.name: axis.values[0] if axis.values else axis.default for axis in AXES}
    return [
        word
        for axis in AXES
        if axis.name in own and own[axis.name] != plain[axis.name]
        for word in (axis.flag, own[axis.name])
    ]


def repeat(finding: Finding) -> str:
    """Return the command that compares the two commits here and now; empty if they are one."""
    if finding.commits == 0:
        return ""
    before, after = finding.before.commit, finding.after.commit
    subject = str(finding.series.row.subject)
    flags = _flags(finding.series)
    return command("bench", "ab", before.short, after.short, "--subject", subject, *flags)


def measure(series: Series) -> str:
    """Return the command that measures the case of a series again."""
    return command("bench", "run", "--subject", str(series.row.subject), *_flags(series))
