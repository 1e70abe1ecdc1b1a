"""Verifies one case: its first call is kept, and compared with the reference later.

The values are in a file meanwhile, so that they are not part of the memory that is measured.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn

from bench.core.text import typed_error
from bench.worker.checks import exact, numerics, rounding
from bench.worker.checks.values import NoReferenceError, gather
from bench.worker.jobs import reference
from bench.worker.jobs.prepare import BuiltCase
from bench.worker.metrics import flops
from bench.worker.model import pytree
from bench.worker.model.build import SEED, seed_all
from bench.worker.model.step import TrainingStep, warm_up_calls

CONVOLVING = ("conv", "rnn", "lstm", "gru")  # parts of operators' names


def keep_first_call(built: BuiltCase, path: Path) -> None:
    """Make one call and keep its results.

    If the first call is not yet the one that is timed (a CUDA graph must be recorded, or a
    GradScaler searches its scale), some calls come before it and are undone.
    """
    step, prepared = built.step, built.prepared
    if built.graphs or (isinstance(step, TrainingStep) and step.scale != 1.0):
        with _buffers_kept(prepared.module):
            step.settle()
            warm_up_calls(step)
        seed_all(SEED)
    given = (prepared.args, prepared.kwargs)
    values = gather(step, prepared.module, given)
    reference.save(exact.Reference(values, {}), path)


def compare_with_reference(
    built: BuiltCase, kept: Path, whole: str | None
) -> numerics.NumericsResult:
    """Compare the kept call with the reference; `doubt` says why it cannot be compared.

    whole: file with the reference of a subject that is no layer.
    """
    try:
        values = reference.load(kept).values
        if built.prepared.layer is None:
            against = reference.load(Path(whole or ""))
        else:
            against = reference.of_layer(built.case, built.prepared, built.request.reference_s)
        used = rounding.arithmetic(built.case, _tensors(built), convolves=_convolves(built))
        seen = numerics.compare(values, against, used)
        if not (seen.wrong or seen.suspected):
            return seen
        built.device.empty_cache()
        others = reference.witnesses(
            built.case, built.prepared, used, seen.suspected, against.device
        )
        return numerics.compare(values, against, used, others)
    except NoReferenceError as error:
        return numerics.NumericsResult(doubt=str(error))
    except Exception as error:  # a subject may raise anything, in float64 above all
        return numerics.NumericsResult(doubt=f"there is no reference: {typed_error(error, 200)}")
    finally:
        kept.unlink(missing_ok=True)
        built.device.empty_cache()  # of float64 numbers, which no measurement has


def _convolves(built: BuiltCase) -> bool:
    """Return whether a call has convolutions or recurrent layers; asked for `tf32=default` only."""
    if built.case.tf32 != "default":
        return True
    with _buffers_kept(built.prepared.module):
        seen = flops.operators(built.eager)
    return any(part in name for name in seen for part in CONVOLVING)


def _tensors(built: BuiltCase) -> Iterator[Tensor]:
    """Yield the tensors of the module, its inputs and its outputs."""
    prepared = built.prepared
    yield from prepared.module.parameters()
    yield from prepared.module.buffers()
    yield from pytree.tensors((prepared.args, prepared.kwargs, built.step.output))


@contextlib.contextmanager
def _buffers_kept(module: nn.Module) -> Iterator[None]:
    """Restore buffers in place: a recorded graph knows them by their address."""
    before = [(buffer, buffer.detach().clone()) for buffer in module.buffers()]
    yield
    with torch.no_grad():
        for buffer, kept in before:
            buffer.copy_(kept)
