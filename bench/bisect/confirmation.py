"""The comparison at the end of a search: its threshold, and the answer of its table."""

import math
from pathlib import Path

from bench.ab import ab_plan
from bench.ab.pair_journal import BACK_TO_BACK
from bench.bisect.search import UnconfirmedError
from bench.core.text import number_of
from bench.verdict import ab_csv
from bench.verdict.lines import percent_more
from bench.verdict.report import PIPELINED, TIME, Finding


def threshold(change: float) -> float:
    """Return the threshold that finds a change.  change: a log ratio of either sign."""
    return ab_plan.threshold_for(math.expm1(abs(change)))


def differs(folder: Path, phase: str) -> bool:
    """Return whether side B of a comparison takes longer than side A in this phase.

    Only the time of the phase decides: counted figures and other phases were not searched.

    Raises UnconfirmedError if the comparison decides nothing.
    """
    table, name = folder / ab_csv.FILE, phase.removesuffix(BACK_TO_BACK)
    try:
        found = ab_csv.time_of(table, name, TIME if name == phase else PIPELINED)
    except OSError as error:
        raise UnconfirmedError(f"{table} cannot be read: {error.strerror}") from None
    except ab_csv.NoTimeError as error:
        raise UnconfirmedError(f"phase {phase} has no times: {error}") from None
    if found.verdict not in ("REGRESSED", "IMPROVED", "SAME"):
        raise UnconfirmedError(_told(found))
    return found.verdict == "REGRESSED"


def _told(found: Finding) -> str:
    """Return `INCONCLUSIVE, +3.1 % (-0.2 to +6.5 %) in 12 pairs: NOTE`."""
    told: str = found.verdict
    if size := percent_more(found.ratio, found.ratio_low, found.ratio_high):
        told += f", {size} in {number_of(found.evidence.pairs or 0, 'pair')}"
    return f"{told}: {found.note}" if found.note else told
