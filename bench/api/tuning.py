"""`bench.tune`: the fastest settings that are still right, as an object of Python."""

import html
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from bench.api.runs import name_of_subject, texts
from bench.commands import tune as tune_command
from bench.core.axes import AXES
from bench.core.errors import UserError
from bench.core.exit_codes import INTERRUPTED
from bench.core.text import command
from bench.terminal.progress import wide_console
from bench.tune import tune_result
from bench.tune.tune_result import TuneOutcome


class TuneFailed(UserError):  # noqa: N818 - says what happened
    """No setting gave a right result, or none was checked in time."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Tuned:
    """The answer of a search.

    path:    its directory, with the journal, the table and the TOML that measures the best again.
    results: what the command prints is made of it.
    """

    path: Path
    results: TuneOutcome = field(repr=False)

    @property
    def best(self) -> dict[str, str]:
        """The settings of the best that are not those of plain, by the names of the axes."""
        best, plain = self.results.winner, self.results.plain
        return {
            axis.name: str(getattr(best, axis.name))
            for axis in AXES
            if getattr(best, axis.name) != getattr(plain, axis.name)
        }

    @property
    def speedup(self) -> tuple[float, float | None, float | None] | None:
        """Plain / best in fresh pairs, and the ends of its 95 % interval.

        None if there were no pairs; the ends are None if there were too few.
        """
        found = self.results.against_plain
        return None if found is None else (found.ratio, found.low, found.high)

    @property
    def code(self) -> str:
        """The lines to paste into a script."""
        return tune_result.code(self.results)

    @property
    def sentences(self) -> list[str]:
        return tune_result.sentences(self.results)

    @property
    def front(self) -> pd.DataFrame:
        """Settings that nothing beats in time, memory and error; the fastest first."""
        rows = [
            {
                "settings": self.results.name(one.case),
                "time_s": one.time_s,
                "peak_bytes": one.peak_bytes,
                "relative_error": one.error,
            }
            for one in self.results.front
        ]
        return pd.DataFrame(rows, columns=["settings", "time_s", "peak_bytes", "relative_error"])

    def __repr__(self) -> str:
        return "\n".join(self.sentences)

    def _repr_html_(self) -> str:
        told = "".join(f"<p>{html.escape(one)}</p>" for one in self.sentences)
        return f"{told}{self.front.to_html(index=False)}<pre>{html.escape(self.code)}</pre>"


def tune(
    subject: str | Callable[..., Any] = "convnet",
    *,
    objective: str = "latency",
    mode: str | None = None,
    batch: int | None = None,
    input: str | None = None,  # noqa: A002 - the name of the axis
    device: str | None = None,
    max_error: float | None = None,
    max_memory: float | None = None,
    budget: float = tune_command.BUDGET_S,
    only: str | Sequence[str] = (),
    fix: str | Sequence[str] = (),
    weights: str | Path | None = None,
    timeout: float = 180.0,
    seed: int = 0,
    out: str | Path | None = None,
    progress: bool = True,
) -> Tuned:
    """Find the fastest settings that are still right, as the command `bench tune` does.

    Candidates are measured in fresh processes, so the subject has to be importable there.

    subject:  `package.module:callable`, or a function or class that can be imported.
    budget:   seconds.  max_memory: bytes.  max_error: relative error against float64.
    only:     axes to search.  fix: settings that all candidates have, "memory_format=contiguous".
    progress: show the candidates racing, and the answer.

    Raises UserError with a message in one line, TuneFailed if no setting was found, and
    KeyboardInterrupt after the best so far is written.
    """
    asked_axes = {"mode": mode, "batch": batch, "input": input, "device": device}
    ran = tune_command.measured(
        tune_command.Asked(
            subject=name_of_subject(subject),
            axes={name: (str(one),) for name, one in asked_axes.items() if one is not None},
            objective=objective,
            max_error=max_error,
            max_memory=max_memory,
            budget_s=budget,
            only=tuple(texts(only)),
            fix=tuple(texts(fix)),
            weights=None if weights is None else str(weights),
            timeout_s=timeout,
            seed=seed,
            out=None if out is None else Path(out),
        ),
        wide_console(quiet=not progress),
    )
    if ran.code == INTERRUPTED:
        again = command("bench", "tune", "--resume", ran.path)
        raise KeyboardInterrupt(f"{again} continues the search")
    if ran.found is None:
        raise TuneFailed(
            f"{ran.path}: no setting was found: none gave a right result, or the budget ended "
            "before one was checked; its journal.jsonl has what was measured"
        )
    return Tuned(path=ran.path, results=ran.found)
