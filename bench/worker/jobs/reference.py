"""Makes the reference of a case: float64 eager, contiguous, on the CPU.

It is computed once for a subject, mode, batch, input and device, in a process of its own, and kept
in a file for the run.  The reference of a layer uses the layer's input under the case's own
settings.  The case's accelerator computes what takes the CPU longer than ON_CPU_S: its kernels for
float64 are others than those for the precisions that are checked.  A subject that draws random
numbers, or a reference that would take too long, raises NoReferenceError: then nothing is said
about the result.
"""

import contextlib
import dataclasses
import errno
import math
import re
import warnings
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

import psutil
import torch
from torch import Tensor

from bench.core.axes import AS_BUILT
from bench.core.records import Case
from bench.core.text import error_line
from bench.worker.checks import witness
from bench.worker.checks.exact import Reference
from bench.worker.checks.exact import of as of_values
from bench.worker.checks.values import NoReferenceError, Values, gather
from bench.worker.device import cuda
from bench.worker.jobs.prepare import make_step
from bench.worker.model import dtypes, loss, pytree, twins
from bench.worker.model.build import (
    DTYPES,
    OF_DTYPES,
    SEED,
    Prepared,
    place_in_mode,
    prepare,
    seed_all,
)
from bench.worker.process import limits
from bench.worker.timing.stopwatch import wall_clock

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

# Of float64 beside float32 on the CPU: convolutions, which lose their fast kernels, were 4 times
# slower, matrix products twice.
SLOWER = 4.0
ON_CPU_S = 5.0  # that the CPU may take for a case of an accelerator
SMALL_BATCH, MUCH_LARGER = 2, 16  # a small batch tells how long a much larger one takes the CPU
LESS_AN_IMAGE = 3.0  # times that an image of a large batch is computed sooner, at most
PRODUCT = 2048  # rows of the matrices that tell how fast an accelerator is in float64
MOST_MEMORY = 0.25  # of what is free
# Runs that differ by rounding alone, asked for where a result is suspected; at least one is made.
WITNESSES, MOST_WITNESSED_S = 5, 10.0

Builder = Callable[[str, str], Prepared]  # dtype and device → the network and its inputs


class CostError(NoReferenceError):
    """Float64 would take too long, or more memory than there is."""


def plain(case: Case, dtype: str, device: str = "cpu") -> Case:
    """Return the same call without anything that makes it faster.

    Inputs with a given dtype get that precision as well; whole numbers stay whole.
    """
    return dataclasses.replace(
        case,
        input=_in_precision(case.input, dtype),
        device=device,
        dtype=dtype,
        amp="off",
        memory_format="contiguous",
        compile="off",
        cudnn_benchmark=None,
        tf32=None,
        threads=case.threads or "auto",
    )


def _in_precision(text: str, dtype: str) -> str:
    wide = dtype == "float64"
    names = {
        "float16": dtype,
        "bfloat16": dtype,
        "float32": dtype,
        "complex64": "complex128" if wide else "complex64",
    }
    pattern = rf":({'|'.join(names)})(?![0-9])"
    return re.sub(pattern, lambda found: f":{names[found[1]]}", text)


def of_whole(case: Case, most_s: float = math.inf) -> Reference:
    """Make the reference of a whole subject.  Raises NoReferenceError, and the subject's errors."""
    long = case.device != "cpu" and _long_on_cpu(case, min(most_s, ON_CPU_S))
    return _compute(_builder(case), case, most_s, try_cpu=not long)


def _long_on_cpu(case: Case, most_s: float) -> bool:
    """Return whether a few images say that the CPU cannot compute the case in `most_s`."""
    if case.batch < MUCH_LARGER:
        return False
    few = dataclasses.replace(case, batch=SMALL_BATCH)
    try:
        _, few_s = _values(few, prepare(plain(few, "float32")), "float32")
    except Exception:  # a subject may refuse another batch; the whole call tells more
        return False
    return few_s * case.batch / SMALL_BATCH / LESS_AN_IMAGE * SLOWER > most_s


def of_layer(case: Case, captured: Prepared, most_s: float = math.inf) -> Reference:
    """Make the reference of a layer, from its captured input.  Raises NoReferenceError."""
    return _compute(_layer_builder(case, captured), case, most_s)


def _builder(case: Case) -> Builder:
    return lambda dtype, device: prepare(plain(case, dtype, device))


def _layer_builder(case: Case, captured: Prepared) -> Builder:
    name = (captured.layer or "").partition("#")[0]

    def build(dtype: str, device: str) -> Prepared:
        whole = place_in_mode(plain(case, dtype, device))
        kind = DTYPES[dtype]

        def cast(tensor: Tensor) -> Tensor:
            wide = tensor.detach().to(device, dtypes.like(tensor.dtype, kind))
            return twins.twin(wide).requires_grad_(tensor.requires_grad)

        args, kwargs = pytree.map_tensors(cast, (captured.args, captured.kwargs))
        seed_all(SEED)
        return Prepared(
            module=whole.get_submodule(name),
            args=args,
            kwargs=kwargs,
            loss=loss.FixedGradient(scaled=False),
            restore=captured.restore,
            layer=captured.layer,
        )

    return build


def witnesses(
    case: Case, captured: Prepared, used: str, groups: Collection[str], device: str
) -> list[Values]:
    """Compute the case's network with other rounding, for the groups that are asked for.

    captured: the case as it was prepared.
    used:     a key of `bench.worker.checks.witness.BITS`.
    device:   that of the reference.

    Returns an empty list if it cannot be computed; fewer than WITNESSES if they would take too long
    or too much memory.
    """
    build = _builder(case) if captured.layer is None else _layer_builder(case, captured)
    found: list[Values] = []
    begun = wall_clock()
    anything = contextlib.suppress(Exception)  # that a subject may raise
    with _accurate(device), _memory_of(device), anything:
        for seed in range(WITNESSES):
            if seed and (wall_clock() - begun) * (seed + 1) / seed > MOST_WITNESSED_S:
                break
            made = build("float64", device)
            witness.perturb(made.module, (made.args, made.kwargs), used, seed)
            with _default_dtype(torch.float64), witness.Rounded(witness.bits(used)):
                values, _ = _values(case, made, "float64", device)
            kept = {name: tensors for name, tensors in values.groups.items() if name in groups}
            found.append(Values(kept))
    return found


def _compute(build: Builder, case: Case, most_s: float, *, try_cpu: bool = True) -> Reference:
    """Compute it.  Raises NoReferenceError if float64 would take longer than `most_s`.

    try_cpu: before the accelerator of the case.  If that cannot compute it, the CPU has `most_s`.
    """
    if case.device == "cpu":
        return _computed(build, case, "cpu", most_s)
    on_cpu = CostError("the CPU would take too long for the float64 reference")
    if try_cpu:
        try:
            return _computed(build, case, "cpu", min(most_s, ON_CPU_S))
        except CostError as error:
            on_cpu = error
    try:
        return _computed(build, case, case.device, most_s)
    except NoReferenceError as error:
        there = f"on {case.device}: {error}"
    except (RuntimeError, TypeError) as error:  # MPS and others have no float64
        there = f"{case.device} cannot compute it: {error_line(error, 160)}"
    if most_s > ON_CPU_S:
        try:
            return _computed(build, case, "cpu", most_s)
        except CostError as error:
            on_cpu = error
    raise NoReferenceError(f"{on_cpu}; {there}")


def _computed(build: Builder, case: Case, device: str, most_s: float) -> Reference:
    """Compute it on a device.  Raises CostError, NoReferenceError."""
    with _accurate(device):
        try:
            single, spent_s = _values(case, build("float32", device), "float32", device)
        except RuntimeError as error:
            if case.dtype != AS_BUILT:
                raise
            raise NoReferenceError(_own_dtypes(error)) from error
        if device == "cpu":
            _refuse_long(spent_s * SLOWER, spent_s, most_s)
        other = build("float32", device)
        seed_all(SEED + 1)
        again, spent_s = _values(case, other, "float32", device)
        if device != "cpu":  # the first call opened the device
            _refuse_long(spent_s * _slower(device), spent_s, most_s)
    del other
    with _accurate(device), _memory_of(device):
        try:
            wide = build("float64", device)
            with _default_dtype(torch.float64):
                exact, _ = _values(case, wide, "float64", device)
        except (MemoryError, RuntimeError) as error:
            if OF_DTYPES.search(str(error)):
                raise NoReferenceError(_own_dtypes(error)) from error
            text = error_line(error, 200)
            raise CostError(f"there is no float64 reference: {text}") from error
    return dataclasses.replace(of_values(exact, single, again), device=device)


def _refuse_long(expected_s: float, single_s: float, most_s: float) -> None:
    """Raise CostError where float64 would take too long.  single_s: of float32."""
    if expected_s > most_s:
        raise CostError(
            f"the float64 reference would take over {most_s:.0f} s (float32: {single_s:.1f} s)"
        )


def _slower(device: str) -> float:
    """Return how many times as long as float32 a call may take in float64, from a product.

    Some GPUs have one float64 unit for 64 of float32.
    """
    spent_s: dict[torch.dtype, float] = {}
    for dtype in (torch.float32, torch.float64):
        matrix = torch.ones(PRODUCT, PRODUCT, dtype=dtype, device=device)
        for _ in range(2):  # the first product opens the library
            start = wall_clock()
            float((matrix @ matrix)[0, 0])
            spent_s[dtype] = wall_clock() - start
    return max(SLOWER, 2 * spent_s[torch.float64] / spent_s[torch.float32])


@contextlib.contextmanager
def _accurate(device: str) -> Iterator[None]:
    """Let float32 be IEEE's and sums have one order, without a search for algorithms."""
    if device.partition(":")[0] != "cuda":
        yield
        return
    stood = cuda.precisions()
    ordered = torch.are_deterministic_algorithms_enabled()
    warns = torch.is_deterministic_algorithms_warn_only_enabled()
    try:
        cuda.set_tf32("off")
        torch.use_deterministic_algorithms(True, warn_only=True)
        with cuda.untuned(), warnings.catch_warnings(action="ignore"):
            yield
    finally:
        torch.use_deterministic_algorithms(ordered, warn_only=warns)
        cuda.restore_precisions(stood)


def _own_dtypes(error: Exception) -> str:
    text = error_line(error, 160)
    return (
        "there is no float64 reference: the subject casts to dtypes of its own (.float(), .half(), "
        f".to(…)), so that float64 cannot do the same (torch: {text})"
    )


def _values(
    case: Case, prepared: Prepared, dtype: str, device: str = "cpu"
) -> tuple[Values, float]:
    """Return the results of one call, and its seconds."""
    called = plain(case, dtype, device)
    step = make_step(prepared, prepared.module, called, device.partition(":")[0])
    start = wall_clock()
    values = gather(step, prepared.module, (prepared.args, prepared.kwargs))
    return values, wall_clock() - start


@contextlib.contextmanager
def _default_dtype(dtype: torch.dtype) -> Iterator[None]:
    """Set the dtype of tensors that a forward makes; those of the weights are made already."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@contextlib.contextmanager
def _memory_of(device: str) -> Iterator[None]:
    """Bound the memory of the CPU by a share of what is free; an accelerator has its own bound."""
    if resource is None or device != "cpu":
        yield
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    used = psutil.Process().memory_info()
    most = getattr(used, "data", used.vms) + int(psutil.virtual_memory().available * MOST_MEMORY)
    lower = most if soft == resource.RLIM_INFINITY else min(most, soft)
    resource.setrlimit(resource.RLIMIT_DATA, (lower, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def save(made: Reference, path: Path) -> None:
    """Write beside, then rename.  Raises NoReferenceError if there is no room."""
    beside = path.with_suffix(".tmp")
    values = {
        "groups": {name: list(tensors) for name, tensors in made.values.groups.items()},
        "given": list(made.values.given),
        "rounding": dict(made.rounding),
        "device": made.device,
    }
    try:
        with limits.large_files():
            torch.save(values, beside)
        beside.rename(path)
    except (OSError, RuntimeError) as error:  # torch raises the latter where a write fails
        beside.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise  # no verdict on the case
        text = error_line(error, 200)
        raise NoReferenceError(f"its values cannot be written to {path.parent}: {text}") from error


def load(path: Path) -> Reference:
    """Read a reference.  Raises NoReferenceError with the reason if there is none."""
    if not path.exists():
        why = path.with_suffix(".txt")
        said = why.read_text(encoding="utf-8") if why.exists() else "it was not made"
        raise NoReferenceError(said)
    found: dict[str, Any] = torch.load(path, weights_only=True)
    groups = {name: tuple(tensors) for name, tensors in found["groups"].items()}
    return Reference(Values(groups, tuple(found["given"])), found["rounding"], found["device"])
