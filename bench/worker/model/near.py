"""Suggests the name that a misspelled callable or module most likely means."""

import inspect
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType

from torch import nn

from bench.core import code_names
from bench.core.near import did_you_mean, nearest
from bench.core.subject import SubjectRef


def callables(module: ModuleType, name: str) -> str:
    """Return the end of a message: the nearest network, class of one, or function of the module."""
    return did_you_mean(name, [key for key, value in vars(module).items() if _may_be(key, value)])


def _may_be(name: str, value: object) -> bool:
    if name.startswith("_"):
        return False
    is_class = isinstance(value, type) and issubclass(value, nn.Module)
    return is_class or isinstance(value, nn.Module) or inspect.isfunction(value)


def own_names(module: ModuleType) -> str:
    """Return the end of a message: the networks and functions that the module itself defines."""
    names = [
        key
        for key, value in vars(module).items()
        if _may_be(key, value)
        and (isinstance(value, nn.Module) or getattr(value, "__module__", "") == module.__name__)
    ]
    return f"; it has {code_names.listed(names)}" if names else ""


def modules(ref: SubjectRef, missing: str, folders: Iterable[str]) -> str:
    """Return the end of a message: the subject with the nearest module or package of the user's.

    A file stays a file: `my/modles.py:net` becomes `my/models.py:net`.  Where the name is not in
    that file either, the names in it are listed.

    missing: the first part of the module that does not exist.
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
    meant = nearest(last, known)
    if meant is None:
        return ""
    module = known[meant] + ref.module.removeprefix(missing)
    place, file = module, _file(module, folders)
    if ref.file:
        place = module.replace(".", "/") + (".py" if file else "")
    source = _read(file) if file else ""
    name = ref.callable.partition(".")[0]
    if source and not code_names.may_have(source, name) and (own := code_names.defined(source)):
        return f"; did you mean {place!r}? It has {code_names.listed(own)}"
    return f"; did you mean {place + ref.whole.removeprefix(ref.module)!r}?"


def _file(module: str, folders: Iterable[str]) -> Path | None:
    """Return the file of a module that is not a package."""
    files = (Path(folder, *module.split(".")).with_suffix(".py") for folder in folders)
    return next((file for file in files if file.is_file()), None)


def _read(file: Path) -> str:
    """Return the source; empty if it cannot be read."""
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeError):
        return ""


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
