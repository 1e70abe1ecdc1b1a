"""The doors of the suite, under a name that no user's file has.

The command `bench` and pytest load this module first.  A `bench.py` of the user's may come before
the package `bench` on the import path; here the package is found by where this file lies.
`python -m convnet_bench` is the command, too, in any folder.
"""

import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest


def _start() -> ModuleType:
    """`bench.start`, without the package that it is in."""
    file = Path(__file__).with_name("bench") / "start.py"
    loaded = sys.modules.get("bench.start")
    if loaded is not None and Path(str(loaded.__file__)) == file:
        return loaded
    spec = spec_from_file_location("bench.start", file)
    assert spec is not None
    assert spec.loader is not None
    start = module_from_spec(spec)
    spec.loader.exec_module(start)
    start.kept["bench.start"] = start
    return start


START = _start()


def main() -> None:
    """The command `bench`."""
    START.remove_current_directory()
    sys.modules["bench.start"] = START
    sys.meta_path.insert(0, START.OwnFinder())
    from bench.__main__ import main as command

    command()


def pytest_configure(config: "pytest.Config") -> None:
    """The fixtures for pytest; `bench` stays what it is to the user's tests."""
    with START.own_names():
        from bench import pytest_plugin
    pytest_plugin.pytest_configure(config)


if __name__ == "__main__":
    main()
