"""The interpreter, the directory and the import path of a process of the suite."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bench import start

# An entry in the list of modules that a fork server imports for all its workers.
COMPILER = "torch.compile"
START_S = 60.0  # for importing torch; added to the time limit of the process


@dataclass(frozen=True, slots=True)
class Place:
    """An interpreter, a folder and an import path with which a process is started.

    path: folders in which the subject's modules are searched, in this order (`bench.start`);
          (): those that this process was given, else those around the current directory.
    """

    python: str = sys.executable
    folder: Path | None = None  # None: that of this process
    path: tuple[Path, ...] = ()

    def command(self, module: str, *arguments: str) -> list[str]:
        """Return the command that starts a module of the suite; it has a function `main`."""
        return [self.python, start.__file__, module, *arguments]

    def environment(self) -> Mapping[str, str]:
        """Return variables to add to those of this process."""
        return {
            start.FOLDERS: os.pathsep.join(map(str, self.path))
            or os.environ.get(start.FOLDERS, ""),
            "PYTHONPATH": start.without_current_directory(os.environ.get("PYTHONPATH", "")),
            # Also for processes that a subject starts: the user's files must not come first.
            "PYTHONSAFEPATH": "1",
        }


HERE = Place()
