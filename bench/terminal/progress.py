"""Progress of a run: a bar on a terminal, plain lines elsewhere.

It is drawn only between cases.  Nothing here runs while a case is measured: rich's refresh thread
is off.
"""

import statistics
import sys
import time
from collections.abc import Callable
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.text import Text

from bench.core import units
from bench.core.records import Failure, Outcome, whole_phase
from bench.core.text import printable

PLAIN_WIDTH = 100  # columns, where the output goes to a file or a pipe
PLAIN_EVERY_S = 10.0  # one line in ten seconds is enough for a log


class PipedConsole(Console):
    """A console that raises on a closed pipe; rich would exit with 1, which is a verdict."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def wide_console() -> Console:
    """Return a console as wide as the terminal, or 100 columns without one."""
    return PipedConsole(width=None if sys.stdout.isatty() else PLAIN_WIDTH)


class Bar:
    """A `scheduler.Watcher` that draws the progress."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console
        self._clock = clock
        self._start = clock()
        self._last_line = -PLAIN_EVERY_S
        self._done = 0
        self._bar: Progress | None = None
        self.budget_s: float | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar:
            self._bar.stop()

    def begin(self, outcomes: int) -> None:
        self._start = self._clock()
        if self._console.is_terminal:
            self._bar = Progress(
                BarColumn(bar_width=28),
                MofNCompleteColumn(),
                TextColumn("{task.fields[left]} left"),
                TextColumn("{task.description}", markup=False),
                console=self._console,
                auto_refresh=False,
                transient=True,
            )
            self._task = self._bar.add_task("", total=outcomes, left="?")
            self._bar.start()
            self._bar.refresh()
        else:
            self._console.print(f"measuring {outcomes} outcomes", highlight=False)

    def done(self, outcome: Outcome, left: int) -> None:
        self._done += 1
        passed_s = self._clock() - self._start
        left_s = passed_s / self._done * left
        if self.budget_s is not None:
            left_s = min(left_s, max(0.0, self.budget_s - passed_s))
        if isinstance(outcome, Failure):
            self.note(
                f"{outcome.case.case_id}, replicate {outcome.replicate + 1}: "
                f"{outcome.status}: {outcome.told}"
            )
        if self._bar:
            self._bar.update(
                self._task,
                completed=self._done,
                total=self._done + left,
                description=_short(outcome, self._console.width - 62),
                left=units.duration(left_s),
            )
            self._bar.refresh()
        elif passed_s - self._last_line >= PLAIN_EVERY_S:
            self._last_line = passed_s
            self._console.print(
                f"{self._done}/{self._done + left}  {units.duration(left_s)} left  "
                f"{_short(outcome, 80)}",
                highlight=False,
                markup=False,
            )

    def note(self, text: str) -> None:
        self._console.print(Text(printable(text)), soft_wrap=True)


def _short(outcome: Outcome, width: int) -> str:
    """Return the case, shortened to `width`, and the median of its whole call."""
    case = outcome.case
    name = printable(f"{case.subject} {case.mode} b{case.batch}")
    took = ""
    if not isinstance(outcome, Failure):
        times_s = [
            statistics.median(one.times_s)
            for one in outcome.samples
            if one.phase == whole_phase(case.mode) and one.kind == "latency"
        ]
        took = f"  {units.seconds(times_s[0])}" if times_s else ""
    room = max(width - len(took), 12)
    return (name if len(name) <= room else name[: room - 1] + "…") + took
