"""Names of subjects: `convnet`, `package.module:callable(64, 3)`, `SUBJECT/layer`.

Pure: this module parses names; the worker imports and builds.
"""

import ast
import os
import re
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from bench.core.errors import UserError
from bench.core.near import did_you_mean

SHIPPED = {"convnet": ("convnet.network", "ConvNet")}

_HOW = (
    "write convnet, folder/file.py:callable, package.module:callable(64, 3, stride=2), "
    "or one of these followed by /layer or /*"
)
_STARS = re.compile(r"\\*\*")  # the layer * is written \*, since /* means all layers


class SubjectError(UserError, ValueError):
    """A name that no subject can have; the message says what is expected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SubjectRef:
    """A parsed name."""

    module: str  # to import
    callable: str  # dotted, inside the module: a class, a function, or a network
    called: bool = False  # with parentheses
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)
    layer: str | None = None  # dotted name, shipped name, or * for all; as it is written
    whole: str  # the name without its layer
    # As it was written, if that was a file or another path; empty: a dotted name.
    file: str = field(default="", compare=False)

    @property
    def shown(self) -> str:
        """The name without its layer, with the file of the module as it was written."""
        return f"{self.file}{self.whole.removeprefix(self.module)}" if self.file else self.whole


def parse(text: str) -> SubjectRef:
    """Parse a name.  Raises SubjectError.

    A module can be given as a file below the current directory: `my/models.py:make` is
    `my.models:make`.  A layer can have any printable name.
    """
    if not text.strip().isprintable():
        raise SubjectError(f"subject {text!r} is not understood; {_HOW}")
    head, slash, layer = text.lstrip().partition("/")
    if head.strip() in SHIPPED:
        head = head.strip()
        module, callable_ = SHIPPED[head]
        if slash and not layer:
            raise SubjectError(f"subject {text!r} has no layer after the slash; {_HOW}")
        return SubjectRef(module=module, callable=callable_, layer=_layer(layer), whole=head)
    place, colon, rest = text.lstrip().partition(":")
    module = _module(place.strip(), text)
    if not colon and place.strip().endswith(".py"):
        raise SubjectError(
            f"subject {text!r} is a file without a callable; write {place.strip()}:callable"
        )
    if not colon:
        near = did_you_mean(head.strip(), SHIPPED)
        raise SubjectError(f"subject {text!r} is not understood; {_HOW}{near}")
    end = re.match(r"[^(/]*", rest)
    assert end is not None
    callable_ = unicodedata.normalize("NFKC", end[0].strip())
    call = _call(rest[end.end() :])
    tail = rest[end.end() + len(call) :]
    if not _is_dotted(callable_) or (tail.strip() and (tail[0] != "/" or len(tail) == 1)):
        raise SubjectError(f"subject {text!r} is not understood; {_HOW}")
    args, kwargs = _literals(call, text)
    return SubjectRef(
        module=module,
        callable=callable_,
        called=bool(call),
        args=args,
        kwargs=kwargs,
        layer=_layer(tail[1:]),
        whole=f"{module}:{callable_}{call}",
        file="" if place.strip() == module else place.strip(),
    )


def inside(text: str, folders: Iterable[str]) -> str:
    """Return the name with a file that is absolute, or has `..`, relative to one of `folders`.

    folders: absolute; those from which modules are imported, the first that fits is taken.
    A path outside all of them stays as it is: `parse` refuses it.
    """
    place, colon, rest = text.lstrip().partition(":")
    path = PurePosixPath(place.strip())
    if not colon or not (path.is_absolute() or ".." in path.parts):
        return text
    roots = list(folders)
    asked = str(PurePosixPath(roots[0]) / path) if roots else str(path)
    ways: tuple[Callable[[str], str], ...] = (os.path.normpath, os.path.realpath)
    for resolve in ways:  # a link inside a folder is inside, too
        full = PurePosixPath(resolve(asked))
        for root in map(resolve, roots):
            if full.is_relative_to(root) and full != PurePosixPath(root):
                return f"{full.relative_to(root)}{colon}{rest}"
    return text


def layer_text(name: str) -> str:
    """Return the layer as it is written after a slash, where * means all layers."""
    return f"\\{name}" if _STARS.fullmatch(name) else name


def layer_name(text: str) -> str:
    """Return the name of the layer that is written as `text`."""
    return text[1:] if _STARS.fullmatch(text) and text != "*" else text


def _layer(text: str) -> str | None:
    return "*" if text.strip() == "*" else text if text.strip() else None


def _is_dotted(name: str) -> bool:
    return all(part.isidentifier() for part in name.split("."))


def _module(place: str, text: str) -> str:
    """Return the dotted name of a module, given that name or its file.  Raises SubjectError."""
    name = unicodedata.normalize("NFKC", place)
    if not name.endswith(".py") and "/" not in name:
        if not name or not _is_dotted(name):
            raise SubjectError(f"subject {text!r} is not understood; {_HOW}")
        return name
    path = PurePosixPath(name.removesuffix(".py"))
    parts = path.parts[:-1] if path.name == "__init__" else path.parts
    if path.is_absolute() or ".." in parts:
        raise SubjectError(
            f"subject {text!r} is a path outside the current directory and its repository; change "
            f"to the folder of its code, and write {PurePosixPath(name).name}:callable"
        )
    if wrong := [one for one in parts if not one.isidentifier()]:
        raise SubjectError(
            f"subject {text!r} cannot be imported: {wrong[0]!r} is not a valid name of a Python "
            "module; rename it, or change to the folder of the file"
        )
    if not parts:
        raise SubjectError(f"subject {text!r} is not understood; {_HOW}")
    return ".".join(parts)


def _call(text: str) -> str:
    """Return the parentheses at the beginning with their content; empty if they do not end."""
    depth, quote, escaped = 0, "", False
    for index, one in enumerate(text):
        if quote:
            quote = "" if one == quote and not escaped else quote
            escaped = one == "\\" and not escaped
        elif one in "\"'":
            quote = one
        elif one in "([{":
            depth += 1
        elif one in ")]}":
            depth -= 1
        if depth == 0:
            return text[: index + 1] if one == ")" else ""
    return ""


def _literals(call: str, text: str) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return literal arguments.  They are parsed, never evaluated."""
    if not call:
        return (), {}
    try:
        node = ast.parse(f"f{call}", mode="eval").body
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
            raise ValueError("expected one call")
        args = tuple(ast.literal_eval(arg) for arg in node.args)
        if any(keyword.arg is None for keyword in node.keywords):
            raise ValueError("** is not a literal")
        kwargs = {str(k.arg): ast.literal_eval(k.value) for k in node.keywords}
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError) as error:
        raise SubjectError(
            f"subject {text!r}: its arguments must be literals such as 64, 'same', (2, 2) ({error})"
        ) from None
    return args, kwargs
