"""Keeps the random state of torch, Python and numpy over a block that draws or seeds, and seeds."""

import contextlib
import copy
import random
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch

Drawn = Any  # a generator of torch, numpy or Python: an object of its own, with its own state


def draws(one: object) -> bool:
    """Return whether it is a generator of random numbers of torch, numpy or Python."""
    numpy = sys.modules.get("numpy")
    of_numpy = (numpy.random.Generator, numpy.random.RandomState) if numpy else ()
    if isinstance(one, random.SystemRandom):  # it has no state
        return False
    return isinstance(one, (torch.Generator, random.Random, *of_numpy))


def restorer(generator: Drawn) -> Callable[[], object]:
    """Return what gives a generator the state again that it has now."""
    if isinstance(generator, random.Random):
        state = generator.getstate()
        return lambda: generator.setstate(state)
    bits = getattr(generator, "bit_generator", None)
    if bits is not None:
        of_bits = copy.deepcopy(bits.state)
        return lambda: setattr(bits, "state", of_bits)
    own = generator.get_state()
    return lambda: generator.set_state(own)


@contextlib.contextmanager
def kept(device_type: str) -> Iterator[None]:
    """Restore the random state of this process, and of the devices of this type, at the end."""
    of_torch, of_python = torch.get_rng_state(), random.getstate()
    device: Any = None if device_type == "cpu" else torch.get_device_module(device_type)
    every = hasattr(device, "get_rng_state_all")
    of_device = None
    if device is not None:
        of_device = device.get_rng_state_all() if every else device.get_rng_state()
    numpy = sys.modules.get("numpy")
    of_numpy = numpy.random.get_state() if numpy else None
    try:
        yield
    finally:
        torch.set_rng_state(of_torch)
        random.setstate(of_python)
        if device is not None and every:
            device.set_rng_state_all(of_device)
        elif device is not None:
            device.set_rng_state(of_device)
        if numpy:
            numpy.random.set_state(of_numpy)


def seed(number: int, device_types: Iterable[str]) -> None:
    """Seed torch, Python and numpy, and the accelerators of these types alone.

    `torch.manual_seed` seeds every accelerator, also one that is used later for the first time.
    """
    torch.default_generator.manual_seed(number)
    for type_ in device_types:
        if type_ != "cpu":
            device: Any = torch.get_device_module(type_)
            every = getattr(device, "manual_seed_all", None)
            (every or device.manual_seed)(number)
    random.seed(number)
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed(number)
