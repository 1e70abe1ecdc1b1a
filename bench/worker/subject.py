"""Build a subject under a case's settings: module, inputs, loss."""

import importlib
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bench.records import Case
from bench.subject import SubjectRef, parse
from bench.worker import inputs, layers, loss

SEED = 0


class SubjectError(Exception):
    """A subject that cannot be built; the message is one line."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A subject ready to be called."""

    module: nn.Module
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    loss: Callable[[Any], Tensor]
    restore: bool  # the layer writes to its input


def build(ref: SubjectRef) -> nn.Module:
    """The whole module, with the random seed set.  Raises SubjectError."""
    target: Any = _module(ref)
    try:
        for name in ref.callable.split("."):
            target = getattr(target, name)
    except AttributeError:
        raise SubjectError(f"{ref.module} has no {ref.callable!r}") from None
    if isinstance(target, nn.Module):
        raise SubjectError(f"{ref.whole} is a module already; name what makes one")
    torch.manual_seed(SEED)
    try:
        made = target(*ref.args, **ref.kwargs)
    except Exception as error:  # whatever it raises is its author's message
        text = " ".join(str(error).split())[:300]
        raise SubjectError(f"calling it raised {type(error).__name__}: {text}") from error
    if not isinstance(made, nn.Module):
        raise SubjectError(f"calling it gave a {type(made).__name__}, not an nn.Module")
    return made


def _module(ref: SubjectRef) -> Any:
    here = str(Path.cwd())
    if here not in sys.path and "" not in sys.path:
        sys.path.insert(0, here)
    try:
        return importlib.import_module(ref.module)
    except ModuleNotFoundError as error:
        if error.name and (ref.module == error.name or ref.module.startswith(error.name + ".")):
            raise SubjectError(
                f"there is no module {error.name!r} here (the current directory is on the path)"
            ) from None
        raise SubjectError(f"importing {ref.module} raised {error}") from error
    except (Exception, SystemExit) as error:
        text = " ".join(str(error).split())[:300]
        raise SubjectError(f"importing it raised {type(error).__name__}: {text}") from error


def prepare(case: Case) -> Prepared:
    """The subject of a case on its device, dtype and memory format, in its mode.

    For a layer, the whole is called once, untimed, in training mode and with gradients, to see
    what the layer gets.  Raises SubjectError, InputError, LayerError, or what the forward raises.
    """
    ref = parse(case.subject)
    device, dtype = torch.device(case.device), getattr(torch, case.dtype)
    whole = build(ref)
    args, kwargs = inputs.make(case.input, whole, case.batch, dtype)
    args, kwargs = inputs.placed((args, kwargs), device, case.memory_format)
    whole = whole.to(device=device, dtype=dtype)
    if case.memory_format == "channels_last":
        whole = whole.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    training, scaled = case.mode == "training", case.amp == "float16"
    if ref.layer is None:
        whole.train(training)
        return Prepared(whole, args, kwargs, loss.of(whole, scaled=scaled), restore=False)
    seen = layers.capture(whole, ref.layer, args, kwargs, autocast(case, device.type))
    seen.module.train(training)
    return Prepared(seen.module, seen.args, seen.kwargs, loss.FixedGradient(scaled=scaled), seen.writes_input)


def autocast(case: Case, device_type: str) -> AbstractContextManager[Any]:
    """Autocast as the case has it."""
    on = case.amp != "off"
    dtype = getattr(torch, case.amp) if on else None
    return torch.autocast(device_type, dtype=dtype, enabled=on)
