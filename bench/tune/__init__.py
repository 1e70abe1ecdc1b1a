"""Finds the fastest settings of a network that still compute the right result.

It may import everything but the commands, the page and the terminal.

`bench.tune(…)` is a function of the Python door as well as the name of this package, so the package
can be called.
"""

import sys
from types import ModuleType
from typing import Any


class _Callable(ModuleType):
    """This package, which is `bench.api.tuning.tune` when it is called."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        from bench.api.tuning import tune

        return tune(*args, **kwargs)


sys.modules[__name__].__class__ = _Callable
