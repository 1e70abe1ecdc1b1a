"""Find the packages of a repository that may also be installed.  Pure.

`pip install .` copies a package.  If both variants import the installed copy, they run the same
code, whatever their revisions contain, and a verdict SAME would be wrong.
"""

import re
from collections.abc import Iterable

# The folders that can be import roots: the top, src and similar there or one folder below, and
# packages/NAME.
_ROOT = re.compile(
    r"(?:(?:packages|libs|projects)/[^/]+/)?(?:(?:src|python|py|lib)/)?"
    r"|(?!\.|tests?/|docs?/|examples?/|vendor|third_?party/|extern)[^/]+/(?:src|python|py|lib)/"
)
# Names that are common to many repositories and are not installed.
_COMMON = frozenset({"conftest.py", "docs", "examples", "setup.py", "test", "tests"})


def own_packages(tracked: Iterable[str]) -> dict[str, str]:
    """Return the tracked path of each file by its path below the import root.

    tracked: paths of files, relative to the top of the repository.
    """
    paths = set(tracked)
    found: dict[str, str] = {}
    for path in sorted(paths):
        parts = path.split("/")
        for depth in range(len(parts)):
            root = "".join(f"{part}/" for part in parts[:depth])
            if not _ROOT.fullmatch(root) or f"{root}__init__.py" in paths:
                continue
            if parts[depth] not in _COMMON:
                found.setdefault("/".join(parts[depth:]), path)
    return found
