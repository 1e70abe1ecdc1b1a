"""Measure what a PyTorch network costs, layer by layer, and say how sure the figures are.

    measure  one model or function, in this process
    compare  several, which take turns in this process
    run      a sweep, each case in fresh processes, as the command `bench run`
    tune     the fastest settings that are still right, as the command `bench tune`
    load     the results of a run

Nothing else is imported with this package: torch comes with the first use of one of these names.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bench.api.comparing import compare as compare
    from bench.api.measuring import measure as measure
    from bench.api.runs import load as load
    from bench.api.runs import run as run
    from bench.api.tuning import tune as tune

__all__ = ["compare", "load", "measure", "run", "tune"]

_DOORS = {
    "load": "bench.api.runs",
    "measure": "bench.api.measuring",
    "run": "bench.api.runs",
}


def __getattr__(name: str) -> Any:
    if name in ("compare", "tune"):
        return import_module(f"bench.{name}")  # a package that can be called
    if name not in _DOORS:
        raise AttributeError(f"module 'bench' has no attribute {name!r}")
    return getattr(import_module(_DOORS[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
