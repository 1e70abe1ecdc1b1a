"""Where a process of the suite runs: its interpreter, its directory, its import path."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bench import start

# Stands among the modules that a process imports once for all its children.
COMPILER = "torch.compile"
START_S = 60.0  # for importing torch, beside what a process is given for its own work


@dataclass(frozen=True, slots=True)
class Place:
    """path: where the subject's modules are looked for, in this order (`bench.start`)."""

    python: str = sys.executable
    folder: Path | None = None  # None: where this process is
    path: tuple[Path, ...] = ()  # (): the current directory, and where code lies around it

    def command(self, module: str, *arguments: str) -> list[str]:
        """What starts a module of the suite, which has a function `main`."""
        return [self.python, start.__file__, module, *arguments]

    def environment(self) -> Mapping[str, str]:
        """Variables to be added to those of this process."""
        return {
            start.FOLDERS: os.pathsep.join(map(str, self.path)),
            "PYTHONPATH": start.elsewhere(os.environ.get("PYTHONPATH", "")),
            # For what a subject starts as well: else the user's files would come first there.
            "PYTHONSAFEPATH": "1",
        }


HERE = Place()
