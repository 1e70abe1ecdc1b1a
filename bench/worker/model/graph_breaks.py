"""Find where torch.compile leaves the graph: the line, and the modules whose forward has it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from bench.core.text import shortened_line
from bench.worker.device import torch_private
from bench.worker.model import layer_names

MOST_MODULES = 4
MOST_TEXT = 120


def find(
    module: nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any], *, training: bool
) -> list[dict[str, Any]]:
    """Return the breaks, each place a single time.

    This forgets all compiled code, so it comes after everything else.
    """
    with torch.set_grad_enabled(training):
        seen = torch_private.graph_breaks(module, args, kwargs)
    found = {}
    for reason, file, line, code in seen:
        place = f"{Path(file).name}:{line}" if file else ""
        found[place, reason] = {
            "reason": shortened_line(reason, MOST_TEXT),
            "place": place,
            "code": code[:MOST_TEXT],
            "modules": _modules_at(module, file, line)[:MOST_MODULES],
        }
    return list(found.values())


def _modules_at(whole: nn.Module, file: str, line: int) -> list[str]:
    """Return the modules whose forward has a line."""
    own = layer_names.aliases(whole)
    names = {whole: "(network)", **layer_names.dotted_names(whole)}
    return [
        layer_names.alias(name, own) or name
        for module, name in names.items()
        if _has_line(type(module).forward, file, line)
    ]


def _has_line(forward: Any, file: str, line: int) -> bool:
    code = getattr(forward, "__code__", None)
    if code is None or code.co_filename != file:
        return False
    return line in {number for _, _, number in code.co_lines() if number is not None}
