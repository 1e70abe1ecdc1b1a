"""Loads weights from a file into the subjects of this process before anything is measured.

The file holds a state dict, or a checkpoint that has one.  Nothing in it is executed.
"""

import importlib
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bench.core.text import error_line

# keys under which a checkpoint keeps the state dict
INSIDE = ("state_dict", "model_state_dict", "model")
MOST_NAMES = 3  # of keys that a message names
COMPILED = "_orig_mod."  # torch.compile puts it before the names of what it wraps
PARALLEL = "module."  # so does nn.DataParallel


class WeightsError(Exception):
    """The file cannot be loaded into the subject; the message is one line."""


class _Given:
    """The file for the subjects of this process; None: they keep the weights they are built with.

    A process serves one request, which names the file once.
    """

    path: Path | None = None


def use(path: str | None) -> None:
    """Load this file into every subject of the user's that this process builds."""
    _Given.path = Path(path) if path else None


def load_given(module: nn.Module) -> None:
    """Load the file that this process was given, if any.  Raises WeightsError."""
    if _Given.path is not None:
        load(module, _Given.path)


def load(module: nn.Module, path: Path) -> None:
    """Load the state dict; every key has to agree.  Raises WeightsError.

    A tensor that a module has by two names may be in the file by one of them, as safetensors
    stores it.
    """
    state = without_wrappers(state_dict(_read(path), path), module)
    try:
        found = module.load_state_dict(state, strict=False)
    except Exception as error:  # sizes that differ, and anything that a module's own loading raises
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise WeightsError(
            f"{path.name} does not fit: {(lines or [type(error).__name__])[-1]}"
        ) from None
    lacking = _without_shared(found.missing_keys, state, module)
    said = [
        f"{word} {_named(keys)}"
        for word, keys in (("lacks", lacking), ("has unexpected", found.unexpected_keys))
        if keys
    ]
    if said:
        raise WeightsError(f"{path.name} does not fit: it {' and '.join(said)}")


def _without_shared(keys: list[str], state: Mapping[str, Any], module: nn.Module) -> list[str]:
    """Return the keys whose parameter or buffer is not loaded by another of its names."""
    own: dict[str, Tensor] = {
        **dict(module.named_parameters(remove_duplicate=False)),
        **dict(module.named_buffers(remove_duplicate=False)),
    }
    loaded = {id(own[key]) for key in state if key in own}
    return [key for key in keys if key not in own or id(own[key]) not in loaded]


def _named(keys: list[str]) -> str:
    more = f" and {len(keys) - MOST_NAMES} more" if len(keys) > MOST_NAMES else ""
    return ", ".join(keys[:MOST_NAMES]) + more


def _read(path: Path) -> Any:
    if path.suffix == ".safetensors":
        try:
            reader = importlib.import_module("safetensors.torch")
        except ImportError:
            raise WeightsError(f"{path.name} needs the package safetensors; install it") from None
        return _tried(lambda: reader.load_file(path), path)
    return _tried(lambda: torch.load(path, map_location="cpu", weights_only=True), path)


def _tried(read: Any, path: Path) -> Any:
    try:
        return read()
    except OSError as error:
        raise WeightsError(f"{path.name} cannot be read: {error.strerror or error}") from None
    except pickle.UnpicklingError:
        raise WeightsError(
            f"{path.name} holds more than tensors and plain values, which is not loaded, since it "
            "could run code: save model.state_dict() alone"
        ) from None
    except Exception as error:  # of whatever the file is
        text = error_line(error, 200)
        raise WeightsError(f"{path.name} is not a file of weights ({text})") from None


def state_dict(found: Any, path: Path) -> Mapping[str, Any]:
    """Return the state dict in the contents of a file.  Raises WeightsError."""
    if isinstance(found, Mapping):
        for one in (*(found.get(name) for name in INSIDE), found):
            if isinstance(one, Mapping) and _is_state_dict(one):
                return one
    raise WeightsError(
        f"{path.name} has no state dict, neither by itself nor under {', '.join(INSIDE)}"
    )


def _is_state_dict(found: Mapping[Any, Any]) -> bool:
    some = any(isinstance(value, Tensor) for value in found.values())
    return some and all(isinstance(key, str) for key in found)


def without_wrappers(state: Mapping[str, Any], module: nn.Module) -> dict[str, Any]:
    """Return the keys without the prefixes of torch.compile and nn.DataParallel.

    A module may have such names itself: then the keys that are more of its own count.
    """
    own = module.state_dict().keys()
    if not any(COMPILED in key for key in own):
        state = {key.replace(COMPILED, ""): value for key, value in state.items()}
    if all(key.startswith(PARALLEL) for key in state):
        bare = {key.removeprefix(PARALLEL): value for key, value in state.items()}
        if len(own & bare.keys()) >= len(own & state.keys()):
            state = bare
    return dict(state)
