"""The doors of the suite, under a name that no user's file has.

The command `bench` and pytest load this module first.  A `bench.py` of the user's may come before
the package `bench` on the import path; here the package is found by where this file lies.
`python -m convnet_bench` is the command, too, in any folder.
"""

import sys
import warnings
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest


def _start() -> ModuleType | None:
    """`bench.start`, without the package that it is in; None if other files are in its place."""
    file = Path(__file__).with_name("bench") / "start.py"
    loaded = sys.modules.get("bench.start")
    if loaded is not None and Path(str(loaded.__file__)) == file:
        return loaded
    if not file.exists():
        return None
    spec = spec_from_file_location("bench.start", file)
    assert spec is not None
    assert spec.loader is not None
    start = module_from_spec(spec)
    spec.loader.exec_module(start)
    start.kept["bench.start"] = start
    return start


START = _start()


# The distribution frappe-bench has a package `bench`, too: whichever is installed later replaces
# files of the other.
OURS = "Measure what a PyTorch network costs"
REPLACED = (
    "replaced files of the package `bench` of convnet-bench; install convnet-bench into an "
    "environment of its own"
)
WRONG_USE = 2


def replaced_by() -> str | None:
    """Return which distribution replaced files of the package `bench`; None if they are ours."""
    file = Path(__file__).with_name("bench") / "__init__.py"
    try:
        with file.open(encoding="utf-8", errors="replace") as text:
            if OURS in text.readline():
                return None
    except OSError:
        return "another distribution (its removal took files with it)"
    from importlib import metadata

    for other in metadata.distributions():
        name = other.metadata["Name"]
        files = map(str, other.files or ())
        if name != "convnet-bench" and "bench/__init__.py" in files:
            return f"the distribution {name}"
    return "another distribution"


def main() -> None:
    """The commands `bench` and `convnet-bench`."""
    other = replaced_by()
    if other or START is None:
        print(f"bench: {other} {REPLACED}", file=sys.stderr)
        sys.exit(WRONG_USE)
    START.remove_current_directory()
    sys.modules["bench.start"] = START
    sys.meta_path.insert(0, START.OwnFinder())
    from bench.__main__ import main as command

    command()


def pytest_configure(config: "pytest.Config") -> None:
    """The fixtures for pytest; `bench` stays what it is to the user's tests."""
    other = replaced_by()
    if other or START is None:
        warnings.warn(f"no fixtures of convnet-bench: {other} {REPLACED}", stacklevel=2)
        return
    with START.own_names():
        from bench import pytest_plugin
    pytest_plugin.pytest_configure(config)


if __name__ == "__main__":
    main()
