"""The packages that a revision has of its own, where they may be installed as well.

An installed package is the same on both sides of a comparison, whatever the revisions have of it: a
`pip install .` copies it.  So a verdict SAME would be wrong.  Pure.
"""

import re
from collections.abc import Iterable

# Where import roots lie: the top, src and the like there or one folder down, packages/NAME.
_ROOT = re.compile(
    r"(?:(?:packages|libs|projects)/[^/]+/)?(?:(?:src|python|py|lib)/)?"
    r"|(?!\.|tests?/|docs?/|examples?/|vendor|third_?party/|extern)[^/]+/(?:src|python|py|lib)/"
)
# Called alike in every other repository, and no part of what is installed of it.
_COMMON = frozenset({"conftest.py", "docs", "examples", "setup.py", "test", "tests"})


def own_packages(tracked: Iterable[str]) -> dict[str, str]:
    """By path below its import root: the tracked path.

    tracked: paths of files, from the top of the repository.
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
