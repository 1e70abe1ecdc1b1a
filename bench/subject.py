"""What a subject's name means: `convnet`, `package.module:callable(64, 3)`, `SUBJECT/layer`.

Pure: it parses, the worker imports and builds.
"""

import ast
import re
from dataclasses import dataclass, field
from typing import Any

SHIPPED = {"convnet": ("convnet.network", "ConvNet")}

_FORM = re.compile(
    r"(?P<module>[A-Za-z_]\w*(?:\.\w+)*):(?P<callable>[A-Za-z_]\w*(?:\.\w+)*)"
    r"(?P<call>\(.*\))?(?:/(?P<layer>[^()]+))?",
    re.DOTALL,
)
_HOW = (
    "write convnet, package.module:callable, package.module:callable(64, 3, stride=2), "
    "or one of these with /layer or /* behind it"
)


class SubjectError(ValueError):
    """A name that no subject can have; the message says what would be right."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SubjectRef:
    """A parsed name."""

    module: str  # to import
    callable: str  # dotted, inside the module
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)
    layer: str | None = None  # dotted name, shipped name, or * for all
    whole: str  # the name without its layer


def parse(text: str) -> SubjectRef:
    """The parts of a name.  Raises SubjectError."""
    head, slash, layer = text.strip().partition("/")
    if head in SHIPPED:
        module, callable_ = SHIPPED[head]
        if slash and not layer:
            raise SubjectError(f"subject {text!r} names no layer behind the slash; {_HOW}")
        return SubjectRef(module=module, callable=callable_, layer=layer or None, whole=head)
    found = _FORM.fullmatch(text.strip())
    if not found or not text.strip().isprintable():
        raise SubjectError(f"subject {text!r} is not understood; {_HOW}")
    args, kwargs = _literals(found["call"], text)
    whole = f"{found['module']}:{found['callable']}{found['call'] or ''}"
    return SubjectRef(
        module=found["module"],
        callable=found["callable"],
        args=args,
        kwargs=kwargs,
        layer=found["layer"],
        whole=whole,
    )


def _literals(call: str | None, text: str) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Literal arguments: read, never evaluated."""
    if call is None:
        return (), {}
    try:
        node = ast.parse(f"f{call}", mode="eval").body
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
            raise ValueError("not one call")
        args = tuple(ast.literal_eval(arg) for arg in node.args)
        if any(keyword.arg is None for keyword in node.keywords):
            raise ValueError("** is no literal")
        kwargs = {str(k.arg): ast.literal_eval(k.value) for k in node.keywords}
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError) as error:
        raise SubjectError(
            f"subject {text!r}: its arguments have to be literals such as 64, 'same', (2, 2) "
            f"({error})"
        ) from None
    return args, kwargs
