"""The comparison at the end of a search: its threshold, and the answer of its table."""

import csv
import math
from collections.abc import Mapping
from pathlib import Path

from bench.ab import ab_plan
from bench.ab.decision import TABLE
from bench.ab.pair_journal import BACK_TO_BACK
from bench.bisect.search import UnconfirmedError
from bench.core.text import number_of
from bench.verdict.ab_report import PIPELINED, TIME
from bench.verdict.markdown import percent_more


def threshold(change: float) -> float:
    """Return the threshold that finds a change.  change: a log ratio of either sign."""
    return ab_plan.threshold_for(math.expm1(abs(change)))


def differs(folder: Path, phase: str) -> bool:
    """Return whether side B of a comparison takes longer than side A in this phase.

    Only the time of the phase decides: counted figures and other phases were not searched.

    Raises UnconfirmedError if the comparison decides nothing.
    """
    try:
        with (folder / TABLE).open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    except OSError as error:
        raise UnconfirmedError(f"{folder / TABLE} cannot be read: {error.strerror}") from None
    name = phase.removesuffix(BACK_TO_BACK)
    figure = TIME if name == phase else PIPELINED
    row = next((one for one in rows if (one["phase"], one["figure"]) == (name, figure)), None)
    if row is None:
        why = next((one["note"] for one in rows if one["note"]), "nothing was measured")
        raise UnconfirmedError(f"phase {phase} has no times: {why}")
    if row["verdict"] not in ("REGRESSED", "IMPROVED", "SAME"):
        raise UnconfirmedError(_told(row))
    return row["verdict"] == "REGRESSED"


def _told(row: Mapping[str, str]) -> str:
    """Return `INCONCLUSIVE, +3.1 % (-0.2 to +6.5 %) in 12 pairs: NOTE`."""
    ratio, low, high = (
        float(row[name]) if row[name] else None for name in ("ratio", "ratio_low", "ratio_high")
    )
    told = row["verdict"]
    if size := percent_more(ratio, low, high):
        told += f", {size} in {number_of(int(row['pairs'] or 0), 'pair')}"
    return f"{told}: {row['note']}" if row["note"] else told
