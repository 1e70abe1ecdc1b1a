"""A subject that is given by its file: the name by which exactly that file is imported."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from bench.core.subject import SHIPPED, SubjectError, inside, parse
from bench.start import roots, subject_folders


def named(text: str) -> str:
    """Return the name of a subject, its file relative to a folder that modules are imported from.

    Raises SubjectError if the import would find another file than the one that is named.
    """
    found = inside(text, roots())
    place, colon, _ = text.lstrip().partition(":")
    asked = Path(place.strip())
    if not colon or asked.suffix != ".py" or not asked.is_file():
        return found
    ref = parse(found)
    if ref.whole in SHIPPED:
        raise SubjectError(
            f"subject {text!r} is read as a layer of {ref.whole}, the network that ships; rename "
            f"the folder {ref.whole}, or change to it"
        )
    first = found_first(ref.module, map(Path, subject_folders()))
    if first is not None and not first.samefile(asked):
        raise SubjectError(
            f"subject {text!r}: the name {ref.module} means {os.path.relpath(first)}, which is "
            "found first; rename one of the two, or change to the folder of the file that you mean"
        )
    return found


def found_first(module: str, folders: Iterable[Path]) -> Path | None:
    """Return the file that the import of a module takes from these folders, or is stopped by.

    module: dotted.  None: there is none.

    In each folder a package comes before a file.  Folders without `__init__.py` are a package
    together, and only if no folder has another (The import system, "Namespace packages").
    """
    name, _, rest = module.partition(".")
    parts: Sequence[Path] = ()
    for folder in folders:
        package, file = folder / name / "__init__.py", folder / f"{name}.py"
        if package.is_file():
            return (found_first(rest, [package.parent]) or package) if rest else package
        if file.is_file():
            return file
        if package.parent.is_dir():
            parts = (*parts, package.parent)
    return found_first(rest, parts) if rest and parts else None
