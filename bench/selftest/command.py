"""The command `bench selftest`: it checks the suite on this machine with known work.

The output is a line about the machine and a table with a line for each check.  Users can paste it
into a bug report.
"""

import os
import platform
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import Progress, TextColumn
from rich.table import Table
from rich.text import Text

from bench.core.errors import UserError, one_line
from bench.core.exit_codes import BAD_RESULT, FAILED, OK
from bench.core.text import printable
from bench.host import probe
from bench.host.probed import Probe
from bench.plan.config import RunOptions
from bench.selftest import checks
from bench.selftest.work import Line, Workbench, processors
from bench.terminal.progress import PLAIN_WIDTH, PipedConsole

QUICK = RunOptions(samples_s=0.05, warmup_s=0.05)
FULL = RunOptions(samples_s=0.2, warmup_s=0.1)
PROBE_LIMIT_S = 120.0


def run(*, quick: bool) -> int:
    """Measure known work, print the results, and return the exit code."""
    width = PLAIN_WIDTH if not sys.stdout.isatty() else min(PLAIN_WIDTH, Console().width)
    console = PipedConsole(width=width)
    lines: list[Line] = []
    stopped = ""
    try:
        found = probe.look((), {}, PROBE_LIMIT_S)
        console.print(Text(printable(heading(found, quick=quick))))
        _measure(found, quick, lines)
    except (UserError, OSError) as error:
        stopped = one_line(error)
    if lines:
        console.print(table(lines))
        console.print(summary(lines), highlight=False)
    if stopped:
        console.print(Text(f"the selftest stopped: {stopped}"))
    return code(lines, stopped=bool(stopped))


def _measure(found: Probe, quick: bool, lines: list[Line]) -> None:
    """Append a line for each finished check.  Raises UserError, OSError."""
    prefix = "bench-selftest-"
    with (
        tempfile.TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True) as name,
        _progress() as progress,
    ):
        folder = Path(name)
        bench = Workbench(folder, QUICK if quick else FULL)
        now = progress.add_task("")
        try:
            for check in checks.every(bench, found, compiles=not quick):
                progress.update(now, description=check.lines[0][0], refresh=True)
                lines += check.run()
        finally:
            bench.close()


def _progress() -> Progress:
    """Return a display of the name of the running check; it is silent without a terminal."""
    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}", markup=False),
        console=console,
        auto_refresh=False,  # no thread may draw during a measurement
        transient=True,
        disable=not console.is_terminal,
    )


def heading(found: Probe, *, quick: bool) -> str:
    """Return the line about the machine, torch and the devices."""
    shown = [f"{name} ({device.shown})" for name, device in found.devices.items()]
    return (
        f"bench selftest{' --quick' if quick else ''}: {len(processors())} of {os.cpu_count()} "
        f"processors; {platform.system()} {platform.release()} {platform.machine()}; "
        f"Python {platform.python_version()}; torch {found.torch}; {', '.join(shown)}"
    )


def table(lines: Iterable[Line]) -> Table:
    """Return the table with a line for each check; it has no frame, so that it can be pasted."""
    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("check", "expected"):
        made.add_column(name, no_wrap=True)
    for name in ("measured", "verdict"):
        made.add_column(name, overflow="fold")
    for line in lines:
        result = line.result
        verdict = f"{result.verdict}: {result.why}" if result.why else result.verdict
        cells = (line.check, line.expected, result.measured, verdict)
        made.add_row(*(Text(printable(cell)) for cell in cells))
    return made


def summary(lines: Sequence[Line]) -> str:
    """Return the number of checks by verdict, as a text."""
    counts = Counter(line.result.verdict for line in lines)
    return ", ".join(f"{count} {verdict}" for verdict, count in counts.items())


def code(lines: Sequence[Line], *, stopped: bool = False) -> int:
    """Return the exit code: 1 if a check failed, 4 if all were skipped or it stopped, else 0."""
    verdicts = {line.result.verdict for line in lines}
    if "FAILED" in verdicts:
        return BAD_RESULT
    return OK if "ok" in verdicts and not stopped else FAILED
