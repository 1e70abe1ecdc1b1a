"""Names of the layers of a network: dotted names, and names that the network itself gives."""

import difflib
from collections.abc import Iterable, Iterator, Mapping

import torch
from torch import nn
from torch.nn.utils import parametrize

from bench.worker.device import torch_private


class LayerError(LookupError):
    """The layer does not exist or is never called; the message names those that exist."""


def dotted_names(whole: nn.Module) -> dict[nn.Module, str]:
    """Return the dotted names of all modules inside; a module with several names has its first.

    Modules that do a part of another's work are left out: what makes the weight of a parametrized
    layer (weight_norm, spectral_norm) is no layer.  A module that TorchScript has compiled is one.
    """
    found: dict[nn.Module, str] = {}
    _name(whole, "", found, {whole})
    return found


def _name(
    module: nn.Module, prefix: str, found: dict[nn.Module, str], seen: set[nn.Module]
) -> None:
    for name, child in inner_modules(module):
        if child not in seen:
            seen.add(child)
            found[child] = prefix + name
            _name(child, f"{prefix}{name}.", found, seen)


def inner_modules(module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yield names and modules directly below, as `dotted_names` lists them."""
    if isinstance(module, torch.jit.ScriptModule):
        return
    makes_weights = parametrize.is_parametrized(module)
    for name, child in torch_private.own_modules(module).items():
        if child is not None and not (makes_weights and name == "parametrizations"):
            yield name, child


def aliases(whole: nn.Module) -> Mapping[str, str]:
    """Return dotted name → the network's own name."""
    names = getattr(whole, "layer_names", None)
    return names if isinstance(names, Mapping) else {}


def alias(name: str, own: Mapping[str, str]) -> str | None:
    """Return the network's own name: `model.2#2` → `relu1#2`."""
    dotted, mark, count = name.partition("#")
    return f"{own[dotted]}{mark}{count}" if dotted in own else None


def resolve(whole: nn.Module, name: str, names: Mapping[nn.Module, str]) -> str:
    """Return the name under which the hooks know the layer.  Raises LayerError."""
    shown = aliases(whole)
    given, mark, count = name.partition("#")
    dotted = {alias: inner for inner, alias in shown.items()}.get(given, given)
    every = dict(whole.named_modules(remove_duplicate=False))
    found = names.get(every[dotted]) if dotted in every else None
    if found is None or (mark and not (count.isascii() and count.isdigit())):
        raise LayerError(f"there is no {name!r}: {suggestion(name, names.values(), shown)}")
    return found if count in ("", "1") else f"{found}#{int(count)}"


def suggestion(name: str, names: Iterable[str], own: Mapping[str, str]) -> str:
    """Return names similar to a wrong one, or the first of all."""
    names = list(names)
    shown = [alias(one, own) or one for one in names]
    near = difflib.get_close_matches(name, [*shown, *names], n=3, cutoff=0.6)
    if near:
        return f"did you mean {', '.join(dict.fromkeys(near))}?"
    more = f" and {len(shown) - 12} more" if len(shown) > 12 else ""
    return f"there is {', '.join(shown[:12]) or 'none'}{more}"
