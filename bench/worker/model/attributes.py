"""Attributes of objects of a model's own classes, which may hold tensors.

The attributes of a dataclass, a namespace, a distribution or an object with `__slots__` are read.
Attributes of modules, types, functions, iterators, locks, files and all other objects of Python,
torch or C are not read: they hold no output, and some of them lead to the whole process.
"""

import copy
import dataclasses
import enum
import functools
import os
import sys
import types
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

# Classes of torch that hold results of a network.
_OF_TORCH = ("torch.distributions.", "torch.nn.attention.", "torch.nn.utils.")
_NAMESPACES = ("types.SimpleNamespace", "argparse.Namespace")
_LIBRARY = Path(os.__file__).parent
_NEVER = (
    nn.Module,
    Tensor,
    type,
    enum.Enum,
    types.ModuleType,
    types.FunctionType,
    types.MethodType,
    BaseException,
)


class CopyError(TypeError):
    """An object that holds tensors cannot be copied; the message names its class."""


def of(value: Any) -> dict[str, Any]:
    """Return the attributes by name; none where the object is of another kind."""
    if isinstance(value, _NEVER):
        return {}
    if dataclasses.is_dataclass(value):
        named = {one.name for one in dataclasses.fields(value)}
        fields = {name: getattr(value, name) for name in named if hasattr(value, name)}
        ordered = {
            one.name: fields[one.name] for one in dataclasses.fields(value) if one.name in fields
        }
        return ordered | _own(value)
    return _own(value) if understood(value) else {}


def understood(value: Any) -> bool:
    """Return whether the object consists of its attributes alone."""
    if isinstance(value, _NEVER):
        return False
    kind: Any = type(value)
    return dataclasses.is_dataclass(kind) or _of_python(kind)


def copied(value: Any) -> Any:
    """Return a shallow copy; the object itself where its class makes none (a logger, a singleton).

    Raises CopyError.
    """
    try:
        return copy.copy(value)
    except Exception as error:  # a class may raise anything
        kind = f"{type(value).__module__}.{type(value).__qualname__}"
        raise CopyError(
            f"an object of {kind} holds tensors and cannot be copied: {error}"
        ) from error


def get(value: Any, name: str) -> Any:
    """Return an attribute that `of` listed.  Raises AttributeError where it is gone."""
    own = getattr(value, "__dict__", None)
    return own[name] if isinstance(own, dict) and name in own else getattr(value, name)


def put(value: Any, name: str, new: Any) -> None:
    """Set an attribute that `of` listed, also in frozen objects and behind properties."""
    own = getattr(value, "__dict__", None)
    if isinstance(own, dict) and name in own:
        own[name] = new
    else:
        object.__setattr__(value, name, new)


def _own(value: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for kind in type(value).__mro__:
        if "__slots__" not in vars(kind):
            continue
        for name, member in vars(kind).items():
            if isinstance(member, types.MemberDescriptorType):
                try:
                    found[name] = member.__get__(value)
                except AttributeError:  # not set
                    continue
    own = getattr(value, "__dict__", None)
    return found | own if isinstance(own, dict) else found


@functools.lru_cache(maxsize=4096)
def _of_python(kind: Hashable) -> bool:
    """Return whether the class is written in Python and belongs to neither Python's library nor
    torch.
    """
    assert isinstance(kind, type)
    if f"{kind.__module__}.{kind.__qualname__}" in _NAMESPACES:
        return True
    module = f"{kind.__module__}."
    if module.startswith("torch."):
        return module.startswith(_OF_TORCH)
    if not kind.__flags__ & _HEAP_TYPE or issubclass(kind, Mapping):
        return issubclass(kind, Mapping)
    return not _of_library(kind.__module__)


_HEAP_TYPE = 1 << 9  # Py_TPFLAGS_HEAPTYPE of CPython's object.h: made by a class statement


def _of_library(name: str) -> bool:
    """Decide by the file, because a model's own module may have any name."""
    if name == "__main__":
        return False
    file = getattr(sys.modules.get(name), "__file__", None)
    if file is None:
        return name.partition(".")[0] in sys.stdlib_module_names
    return Path(file).is_relative_to(_LIBRARY) and "site-packages" not in file
