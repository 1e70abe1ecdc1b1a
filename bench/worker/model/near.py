"""Suggests the name that a misspelled callable or module most likely means."""

import inspect
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType

from torch import nn

from bench.core.near import did_you_mean


def callables(module: ModuleType, name: str) -> str:
    """Return the end of a message: the nearest network, class of one, or function of the module."""
    return did_you_mean(name, [key for key, value in vars(module).items() if _may_be(key, value)])


def _may_be(name: str, value: object) -> bool:
    if name.startswith("_"):
        return False
    is_class = isinstance(value, type) and issubclass(value, nn.Module)
    return is_class or isinstance(value, nn.Module) or inspect.isfunction(value)


def modules(asked: str, missing: str, folders: Iterable[str]) -> str:
    """Return the end of a message: the nearest module or package of the user's.

    asked:   the dotted name of the import.
    missing: its first part that does not exist.
    folders: folders that are searched for the user's modules.
    """
    *parents, last = missing.split(".")
    roots = [Path(folder).joinpath(*parents) for folder in folders]
    known = {one: ".".join([*parents, one]) for root in roots for one in _inside(root)}
    if not parents:  # a file of that name may be one folder deeper
        for root in roots:
            for package in _inside(root):
                if last in _inside(root / package):
                    known.setdefault(last, f"{package}.{last}")
    rest = asked.removeprefix(missing)
    near = did_you_mean(last, known)
    for one, full in known.items():
        near = near.replace(f" {one!r}?", f" {full + rest!r}?")
    return near


def _inside(folder: Path) -> Iterator[str]:
    """Return names of the modules and packages in a folder."""
    try:
        files = sorted(folder.iterdir())
    except OSError:
        return
    for file in files:
        name = file.stem if file.suffix == ".py" else file.name
        holds_code = file.suffix == ".py" or (file.is_dir() and any(file.glob("*.py")))
        if holds_code and name.isidentifier() and not name.startswith("_"):
            yield name
