"""Where a process of the suite runs: its interpreter, its directory, its import path."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

# Stands among the modules that a process imports once for all its children.
COMPILER = "torch.compile"
START_S = 60.0  # for importing torch, beside what a process is given for its own work


@dataclass(frozen=True, slots=True)
class Place:
    """path: comes before all else that is imported, the current directory left out."""

    python: str = sys.executable
    folder: Path | None = None  # None: where this process is
    path: tuple[Path, ...] = ()

    def environment(self) -> Mapping[str, str]:
        """Variables to be added to those of this process."""
        if not self.path:
            return {}
        already = os.environ.get("PYTHONPATH")
        parts = [*map(str, self.path), *([already] if already else [])]
        # Safe path: `-m` would put the current directory, and what package lies in it, first.
        return {"PYTHONPATH": os.pathsep.join(parts), "PYTHONSAFEPATH": "1"}


HERE = Place()
