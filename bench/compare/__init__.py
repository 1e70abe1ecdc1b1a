"""Match rows and compute the ratios between them, with intervals.

It may import `core`, `stats` and `results`.

`bench.compare(…)` is a function of the Python door as well as the name of this package, so the
package can be called.
"""

import sys
from types import ModuleType
from typing import Any


class _Callable(ModuleType):
    """This package, which is `bench.api.comparing.compare` when it is called."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        from bench.api.comparing import compare

        return compare(*args, **kwargs)


sys.modules[__name__].__class__ = _Callable
