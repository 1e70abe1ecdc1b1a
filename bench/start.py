"""Set the import path of a process of the suite, whatever files lie in the user's folder.

A file `bench.py`, `random.py` or `convnet.py` beside a model must not be run instead of the module
of that name.  So every process starts this file by its path, and the order of the import path is

    the standard library, the folders of the subject, PYTHONPATH, what is installed

`bench` and `convnet` come from beside this file.  A package that torch or this suite needs, and
imports late, comes from where it is installed.  Nothing of the suite is imported here.
"""

import os
import sys


def _is_here(part: str) -> bool:
    """Return whether a part of the import path is the current directory, however it is written."""
    try:
        return os.path.realpath(part or ".") == os.path.realpath(os.getcwd())
    except OSError:  # the current directory was removed
        return part in ("", ".")


def _standard() -> list[int]:
    """Return the positions of the standard library in the import path."""
    library = os.path.dirname(os.__file__)
    archive = f"python{sys.version_info[0]}{sys.version_info[1]}.zip"
    return [
        index
        for index, part in enumerate(sys.path)
        if part == library or os.path.basename(part) in (archive, "lib-dynload")
    ]


def remove_current_directory() -> None:
    """Take the current directory from before the standard library; a user's files lie there."""
    first = min(_standard(), default=0)
    sys.path[:first] = [part for part in sys.path[:first] if not _is_here(part)]


def without_current_directory(given: str) -> str:
    """Return PYTHONPATH without the current directory, which is added at a later place."""
    return os.pathsep.join(part for part in given.split(os.pathsep) if not _is_here(part))


if __name__ in ("__main__", "__mp_main__"):  # before anything else is imported
    remove_current_directory()

import contextlib
import importlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import spec_from_file_location
from types import ModuleType
from typing import Any

SUITE = os.path.dirname(os.path.abspath(__file__))
OWN = ("bench", "convnet")
FOLDERS = (
    "CONVNET_BENCH_PATH"  # variable: the folders of the subject, where they are not those here
)
ROOTS = ("torch", "numpy", "convnet-bench")  # distributions; what they need is not the user's


def _spec_of_own(name: str, folder: str) -> ModuleSpec | None:
    inside = os.path.join(folder, name)
    return spec_from_file_location(
        name, os.path.join(inside, "__init__.py"), submodule_search_locations=[inside]
    )


def is_own(module: ModuleType) -> bool:
    """Return whether a module is the suite's or the shipped network, not a user's namesake."""
    file = getattr(module, "__file__", None)
    root = os.path.dirname(SUITE)
    folders = [os.path.join(root, one) + os.sep for one in OWN]
    return isinstance(file, str) and os.path.abspath(file).startswith(tuple(folders))


class OwnFinder:
    """A finder for `sys.meta_path`: this suite and its network come from beside this file.

    A side of a comparison that has a shipped network of its own is measured with that.
    """

    @staticmethod
    def find_spec(
        name: str,
        path: Sequence[str] | None = None,  # noqa: ARG004 - as the import system calls it
        target: ModuleType | None = None,  # noqa: ARG004
    ) -> ModuleSpec | None:
        if name == "bench":
            return _spec_of_own(name, os.path.dirname(SUITE))
        if name == "convnet":
            given = os.environ.get(FOLDERS, "").split(os.pathsep)
            theirs = (one for one in given if one and _has_shipped(one))
            return _spec_of_own(name, next(theirs, os.path.dirname(SUITE)))
        return None


def _has_shipped(folder: str) -> bool:
    return os.path.isfile(os.path.join(folder, "convnet", "network.py"))


@dataclass(frozen=True, slots=True)
class InstalledFinder:
    """A finder: what the suite and torch need comes from where it is installed."""

    names: frozenset[str]
    folders: frozenset[str]  # of the subject, which have such names as well

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if path is not None or name not in self.names:
            return None
        others = [part for part in sys.path if part not in self.folders]
        return PathFinder.find_spec(name, others, target)


def subject_folders() -> list[str]:
    """Return the folders in which a user's own modules are looked for.

    The starting process names them; else they are here and at the top of the repository, and under
    `src` there.
    """
    if given := os.environ.get(FOLDERS):
        return given.split(os.pathsep)
    here, top = roots()
    found = dict.fromkeys((here, os.path.join(here, "src"), top, os.path.join(top, "src")))
    return [one for one in found if os.path.isdir(one)]


def roots() -> tuple[str, str]:
    """Return the current directory, and the top of its repository; the same where it has none."""
    here = os.getcwd()
    top = here
    while not os.path.exists(os.path.join(top, ".git")):
        above = os.path.dirname(top)
        if above == top:
            return here, here
        top = above
    return here, top


def add_subject_folders() -> None:
    """Put the folders of the subject on the import path.

    They come behind the standard library, and before what is installed.
    """
    known = {os.path.realpath(part or os.curdir) for part in sys.path}
    new = [one for one in subject_folders() if os.path.realpath(one) not in known]
    if not new:
        return
    behind = max(_standard(), default=-1) + 1
    sys.path[behind:behind] = new
    _keep_installed(new)
    importlib.invalidate_caches()


def _keep_installed(folders: Sequence[str]) -> None:
    """Keep packages that torch and the suite need from being taken from these folders."""
    if clashing := _needed_and_here(folders):
        finder: Any = InstalledFinder(frozenset(clashing), frozenset(folders))
        sys.meta_path.insert(0, finder)


def _needed_and_here(folders: Sequence[str]) -> list[str]:
    """Return names of modules in `folders` that are also installed and needed by torch or here."""
    here = set()
    for folder in folders:
        with contextlib.suppress(OSError):
            here |= {one.name.removesuffix(".py") for one in os.scandir(folder)}
    others = [part for part in sys.path if part not in folders]
    clashing = [
        name
        for name in sorted(here - set(OWN) - sys.stdlib_module_names)
        if name.isidentifier() and name not in sys.modules
        if (found := PathFinder.find_spec(name, others)) and found.origin
    ]
    needed = _needed() if clashing else frozenset[str]()
    return [name for name in clashing if name in needed]


def _needed() -> frozenset[str]:
    """Return the modules at the top of torch, of this suite, and of all that they require."""
    from importlib import metadata

    left, seen = list(ROOTS), set[str]()
    while left:
        name = _canonical(left.pop())
        if name in seen:
            continue
        seen.add(name)
        with contextlib.suppress(metadata.PackageNotFoundError):
            required = [one for one in metadata.requires(name) or () if "extra ==" not in one]
            left += [re.split(r"[^\w.-]", one.strip(), maxsplit=1)[0] for one in required]
    return frozenset(
        top
        for top, names in metadata.packages_distributions().items()
        if any(_canonical(one) in seen for one in names)
    )


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def hidden(asked: str) -> str | None:
    """Return a sentence about the file that hides a module of the user's, or None.

    asked: the module that was imported, dotted.
    """
    name, *inside = asked.split(".")
    if name in sys.stdlib_module_names:
        by = f"Python's own module {name}"
    elif name in OWN:
        by = f"this suite's own package {name}"
    else:
        by = f"the installed package {name}"
    module = sys.modules.get(name)
    file = os.path.realpath(str(getattr(module, "__file__", None) or ""))
    parts = [os.path.realpath(part) for part in getattr(module, "__path__", ())]
    for folder in subject_folders():
        for own in (os.path.join(folder, f"{name}.py"), os.path.join(folder, name)):
            there = os.path.isfile(own) or os.path.isfile(os.path.join(own, "__init__.py"))
            if there and not file.startswith(os.path.realpath(own)):
                return f"{os.path.relpath(own)} is hidden by {by}: rename it"
            # A folder without `__init__.py` comes after every package, installed ones as well.
            code = os.path.join(own, *inside)
            has_code = inside and (os.path.isfile(f"{code}.py") or os.path.isdir(code))
            if has_code and not there and os.path.realpath(own) not in parts:
                return f"the folder {os.path.relpath(own)} is hidden by {by}: {_shown_by(name)}"
    return None


def _shown_by(name: str) -> str:
    """Return what makes a folder without `__init__.py` the one that is imported."""
    fixed = name in sys.stdlib_module_names or name in OWN
    kept_installed = any(
        isinstance(one, InstalledFinder) and name in one.names for one in sys.meta_path
    )
    return "rename it" if fixed or kept_installed else "rename it, or put an __init__.py into it"


kept: dict[str, ModuleType] = {}  # ours, while those names are the user's


def _named_as_own() -> dict[str, ModuleType]:
    return {
        name: module for name, module in list(sys.modules.items()) if name.partition(".")[0] in OWN
    }


class KeptFinder:
    """A finder for a user's own process: what was imported by `own_names` is not imported again."""

    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name not in kept:
            return None
        found = PathFinder.find_spec(name, path, target)
        if not found or not found.origin or found.origin != kept[name].__file__:
            return None
        found.loader = KeptFinder()  # type: ignore[assignment]
        return found

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return kept[spec.name]

    def exec_module(self, module: ModuleType) -> None:
        """Do nothing, because the module was executed before."""


@contextlib.contextmanager
def own_names() -> Iterator[None]:
    """Make `bench` and `convnet` mean this project's modules inside the block.

    For pytest, which runs in the process of the user's tests.  The current directory and the
    tests' folder, which may come first there, stand behind the standard library meanwhile.
    """
    if any(isinstance(one, OwnFinder) for one in sys.meta_path):
        yield
        return
    theirs = _named_as_own()
    if theirs and all(map(is_own, theirs.values())):
        yield
        return
    finder: Any = OwnFinder()
    path = list(sys.path)
    first = min(_standard(), default=0)
    for name in theirs:
        del sys.modules[name]
    sys.modules.update(kept)
    sys.meta_path.insert(0, finder)
    sys.path[:] = [*path[first:], *path[:first]]
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        for name, module in _named_as_own().items():
            kept[name] = module
            del sys.modules[name]
        sys.modules.update(theirs)
        sys.path[:] = [*path, *(one for one in sys.path if one not in path)]
        if not any(one is KeptFinder for one in sys.meta_path):
            sys.meta_path.insert(0, KeptFinder)


def main() -> None:
    """Run the `main` of a module of the suite: its name, and what it is given."""
    first = min(_standard(), default=0)
    # The entries of PYTHONPATH; an older Python adds the folder of this file.
    before = [part for part in sys.path[:first] if os.path.realpath(part) != SUITE]
    del sys.path[:first]
    behind = max(_standard(), default=-1) + 1
    sys.path[behind:behind] = before
    module, *arguments = sys.argv[1:]
    sys.argv[:] = [module, *arguments]
    sys.modules["bench.start"] = sys.modules[__name__]
    importlib.import_module(module).main()


if __name__ in ("__main__", "__mp_main__"):  # the latter: what multiprocessing starts of it
    sys.meta_path.insert(0, OwnFinder())
if __name__ == "__mp_main__":
    _keep_installed([part for part in subject_folders() if part in sys.path])
if __name__ == "__main__":
    main()
