"""Count how often each function of Python is called in one call of a case."""

import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path, PurePath
from types import FrameType
from typing import Any


def counted(work: Callable[[], None]) -> dict[str, int]:
    """Return the number of calls by `file:function`, as a profiler sees them."""
    found: Counter[str] = Counter()

    def see(frame: FrameType, event: str, argument: Any) -> None:
        if event == "call":
            found[f"{short(frame.f_code.co_filename)}:{frame.f_code.co_qualname}"] += 1
        elif event == "c_call":
            module = getattr(argument, "__module__", None) or "builtins"
            found[f"{module}.{getattr(argument, '__qualname__', '?')}"] += 1

    before = sys.getprofile()
    sys.setprofile(see)
    try:
        work()
    finally:
        sys.setprofile(before)
    return {name: count for name, count in found.items() if name != "sys.setprofile"}


def short(file: str) -> str:
    """`/…/site-packages/torch/optim/sgd.py` → `torch/optim/sgd.py`; else the last three parts.

    A file below the current directory, that of the side's code, is named from there.
    """
    if PurePath(file).is_relative_to(Path.cwd()):
        return str(PurePath(file).relative_to(Path.cwd()))
    parts = PurePath(file).parts
    for folder in ("site-packages", "dist-packages"):
        if folder in parts:
            return "/".join(parts[parts.index(folder) + 1 :])
    return "/".join(parts[-3:])
