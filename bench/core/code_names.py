"""The networks, classes and functions that Python source defines, for messages.  Pure.

Nothing is imported, so a file that cannot be imported here has names, too.
"""

import ast
import re

MOST = 8  # names in a message


def defined(source: str) -> list[str]:
    """Return the public classes, functions and results of calls at the top, in their order.

    Empty if the source is not Python.
    """
    try:
        statements = ast.parse(source).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    found: list[str] = []
    for one in statements:
        match one:
            case ast.ClassDef() | ast.FunctionDef():
                found.append(one.name)
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Call()):
                found.append(name)
    return [name for name in dict.fromkeys(found) if not name.startswith("_")]


def may_have(source: str, name: str) -> bool:
    """Return whether the source may define a name: it occurs, or everything may be imported."""
    return bool(re.search(rf"\b{re.escape(name)}\b|import \*", source))


def listed(names: list[str]) -> str:
    """Return `Net, make_net`, at most MOST names."""
    more = [f"{len(names) - MOST} more"] if len(names) > MOST else []
    return ", ".join([*names[:MOST], *more])
