"""Progress of a run: a table that fills on a terminal, plain lines elsewhere.

It is drawn only between cases.  Nothing here runs while a case is measured: rich's refresh thread
is off.
"""

import statistics
import sys
import time
from collections.abc import Callable, Iterable
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.text import Text

from bench.core import units
from bench.core.records import Case, Failure, Outcome, whole_phase
from bench.core.row_names import case_names
from bench.core.text import number_of, printable
from bench.terminal.live import LiveTable
from bench.verdict import tables
from bench.verdict.text_table import WIDTH

PLAIN_WIDTH = 100  # columns, where the output goes to a file or a pipe
PLAIN_EVERY_S = 10.0  # one line in ten seconds is enough for a log


class PipedConsole(Console):
    """A console that raises on a closed pipe; rich would exit with 1, which is a verdict."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def wide_console(*, quiet: bool = False) -> Console:
    """Return a console as wide as the terminal, or 100 columns without one, as in a notebook.

    Without a terminal it is not interactive, also where FORCE_COLOR asks for colours, as many
    CI services do: a table that is drawn again and again would fill the log.

    quiet: it shows nothing.
    """
    if sys.stdout.isatty():
        return PipedConsole(quiet=quiet, force_jupyter=False)
    return PipedConsole(
        width=PLAIN_WIDTH, quiet=quiet, force_jupyter=False, force_interactive=False
    )


class Bar:
    """A `scheduler.Watcher` that draws the progress."""

    def __init__(
        self,
        console: Console,
        clock: Callable[[], float] = time.monotonic,
        *,
        cases: Iterable[Case] = (),
        earlier: Iterable[Outcome] = (),
    ) -> None:
        """Prepare it; `begin` draws.

        cases:   of the plan, whose rows the table shows from the start.
        earlier: outcomes of a run that is resumed.
        """
        self._console = console
        self._clock = clock
        self._start = clock()
        self._last_line = -PLAIN_EVERY_S
        self._done = 0
        self._live: Live | None = None
        self._table = LiveTable(cases)
        for outcome in earlier:
            self._table.add(outcome)
        self.budget_s: float | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def begin(self, outcomes: int) -> None:
        self._start = self._clock()
        told = f"measuring {number_of(outcomes, 'outcome')}"
        if self._console.is_interactive:  # a terminal that can move its cursor
            # Transient: the summary takes its place.  No thread: it may not draw in a measurement.
            self._live = Live(console=self._console, auto_refresh=False, transient=True)
            self._live.start()
            self._draw(told)
        else:
            self._console.print(told, highlight=False)

    def done(self, outcome: Outcome, left: int) -> None:
        self._done += 1
        self._table.add(outcome)
        passed_s = self._clock() - self._start
        left_s = passed_s / self._done * left
        if self.budget_s is not None:
            left_s = min(left_s, max(0.0, self.budget_s - passed_s))
        if isinstance(outcome, Failure):
            name = case_names([outcome.case]).of(outcome.case)
            self.note(
                f"{name}, replicate {outcome.replicate + 1}: {outcome.status}: {outcome.told}"
            )
        count = f"{self._done}/{self._done + left}  {units.duration(left_s)} left"
        if self._live:
            self._draw(f"{count}  Ctrl-C ends it with a summary  {_short(outcome)}")
        elif passed_s - self._last_line >= PLAIN_EVERY_S:
            self._last_line = passed_s
            self._console.print(f"{count}  {_short(outcome)}", highlight=False, markup=False)

    def _draw(self, title: str) -> None:
        """Draw the table with as many rows as the height of the terminal holds."""
        assert self._live is not None
        width = min(WIDTH, self._console.width)
        room = max(self._console.height - 1, 1)
        lines: list[Text] = []
        for most in range(room, 0, -1):
            lines = self._table.table(title, most).lines(width)
            if len(lines) <= room:
                break
        drawn = Text("\n", no_wrap=True, overflow="ignore").join(lines[:room])
        self._live.update(drawn, refresh=True)

    def note(self, text: str) -> None:
        tables.say(self._console, text)


def _short(outcome: Outcome) -> str:
    """Return the case and the median of its whole call."""
    case = outcome.case
    name = printable(case_names([case]).of(case))
    if isinstance(outcome, Failure):
        return f"{name}  {outcome.status}"
    times_s = [
        statistics.median(one.times_s)
        for one in outcome.samples
        if one.phase == whole_phase(case.mode) and one.kind == "latency"
    ]
    return f"{name}  {units.seconds(times_s[0])}" if times_s else name
