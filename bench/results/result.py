"""A run as read back: its rows, its entries and what was drawn of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.core.records import Entry, Row


@dataclass(frozen=True, slots=True)
class Result:
    """A run as read back."""

    path: Path
    run: dict[str, Any]
    entries: Sequence[Entry]
    rows: Sequence[Row]
    plots: Sequence[Path]
    not_drawn: Sequence[str]
