"""Build the module of a named subject, ready to be called under a case's settings."""

import contextlib
import copy
import dataclasses
import functools
import importlib
import random
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from bench import start
from bench.core.axes import AS_BUILT
from bench.core.records import Case
from bench.core.subject import SHIPPED, SubjectRef, layer_name, parse
from bench.core.text import error_line
from bench.worker.device import torch_private
from bench.worker.model import (
    dtypes,
    growth,
    inputs,
    layers,
    lazy,
    loss,
    near,
    pytree,
    torch_compile,
    twins,
    weights,
)
from bench.worker.model.layer_names import LayerError
from bench.worker.model.step_inputs import UnsupportedError

SEED = 0
LAZY_BATCH = 2  # images that tell a lazy layer its sizes

# torch's messages where it cannot combine two dtypes.
OF_DTYPES = re.compile(
    r"dtype|scalar type|[Ii]nput type|BFloat16|Half|Double|Float\b|data type|type mismatch"
)

OF_PACKAGE = re.compile(r"no known parent package|beyond top-level package")

DTYPES = {  # all values of the axis but `as-built`, which changes nothing
    "float64": torch.float64,  # only for references; no value of the axis
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}


class SubjectError(Exception):
    """The subject cannot be built; the message is one line."""

    def __init__(self, why: str, *, missing: str | None = None) -> None:
        """missing: the module that its import does not find."""
        super().__init__(why)
        self.missing = missing


class SubjectRaised(SubjectError):  # noqa: N818 - says what happened
    """The subject's own code raised while it was imported or built: see `__cause__`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A module, or one layer of it, with the inputs of its call."""

    module: nn.Module  # on its device, in its mode; not compiled
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    loss: Callable[[Any], Tensor]
    restore: bool | None  # a call writes to its input; None: its first call will show it
    layer: str | None = None  # dotted name, where it is a layer of the subject
    built_in: frozenset[str] = frozenset()  # floating dtypes of the subject before the case's
    compiled: tuple[str, ...] = ()  # its compiled parts, or the compiled parts that it belongs to
    iterators: growth.HeldIterators = growth.NO_ITERATORS  # that it held before the first call


def build(ref: SubjectRef) -> nn.Module:
    """Import, seed and call the subject, without any torch.compile, on the CPU, in its own dtype.

    Raises SubjectError, SubjectRaised.
    """
    return _built(ref)[0]


def _built(ref: SubjectRef) -> tuple[nn.Module, tuple[str, ...]]:
    """Return the module and the names of its parts that were compiled.

    A subject of the user's gets the weights that this process was given, if any.
    """
    module, parts = _made(ref)
    if ref.whole not in SHIPPED:
        try:
            weights.load_given(module)
        except weights.WeightsError as error:
            raise SubjectError(f"{ref.shown}: --weights: {error}") from None
    return module, parts


def _made(ref: SubjectRef) -> tuple[nn.Module, tuple[str, ...]]:
    """Return the module with the weights from its own code."""
    shown = ref.shown
    module = load(ref)
    made: Any = module
    for name in ref.callable.split("."):
        made = getattr(made, name, None)
    if isinstance(made, nn.Module) and not ref.called:
        return torch_compile.take_apart(_copy(made, shown))
    if not callable(made):
        hint = _hidden(ref) or near.own_names(module) + near.callables(module, ref.callable)
        place = ref.file or ref.module
        raise SubjectError(f"{shown}: {place} has no callable {ref.callable!r}{hint}")
    if isinstance(made, nn.Module):
        raise SubjectError(f"{shown}: is a network already; remove its parentheses")
    seed_all(SEED)
    try:
        result = made(*ref.args, **ref.kwargs)
    except Exception as error:  # a subject may raise anything
        raise SubjectRaised(f"{shown}: {ref.callable} raised {_words(error)}") from error
    if not isinstance(result, nn.Module):
        raise SubjectError(f"{shown}: gave a {type(result).__name__}, not an nn.Module")
    return torch_compile.take_apart(result)


def _copy(made: nn.Module, shown: str) -> nn.Module:
    """Copy a network that its module has made: a case changes the network that it gets."""
    try:
        return copy.deepcopy(made)
    except Exception as error:  # a subject may raise anything
        raise SubjectError(
            f"{shown}: is a network that cannot be copied ({_words(error)}); give a function that "
            "makes it"
        ) from error


def _hidden(ref: SubjectRef) -> str:
    """Return the end of a message: another module hides a module of the user's."""
    found = start.hidden(ref.module)
    return f" ({found})" if found else ""


def give_weights(module: nn.Module, spec: str) -> None:
    """Give lazy layers their weights by an untimed call on two images of the input `spec`.

    The weights are the same every time.  Raises inputs.InputError, and anything that a forward may.
    """
    if not lazy.lacks_sizes(module):
        return
    args, kwargs = inputs.make(spec, module, LAZY_BATCH, torch.float32)

    def call() -> None:
        seed_all(SEED)
        module(*args, **kwargs)

    lazy.give_sizes(module, call)


def load(ref: SubjectRef) -> Any:
    """Import the module of the subject.  Raises SubjectError, SubjectRaised."""
    start.add_subject_folders()
    try:
        with start.own_names() if ref.whole in SHIPPED else contextlib.nullcontext():
            return import_seeded(ref.module)
    except ModuleNotFoundError as error:
        missing = error.name or ref.module
        if ref.module == missing or ref.module.startswith(f"{missing}."):
            hint = _hidden(ref) or near.modules(ref, missing, start.subject_folders())
            raise SubjectError(f"{ref.shown}: {_not_there(ref, missing)}{hint}") from None
        raise SubjectError(
            f"{ref.shown}: {ref.file or ref.module} needs {missing!r}, not installed",
            missing=missing,
        ) from error
    except Exception as error:  # importing runs the user's code
        raise SubjectRaised(
            f"{ref.shown}: importing it raised {_words(error)}{_without_package(error)}",
            missing=_not_found(error),
        ) from error


def _without_package(error: Exception) -> str:
    """Return the end of a message: a file of a package was named without the package."""
    if not (isinstance(error, ImportError) and OF_PACKAGE.search(str(error))):
        return ""
    return (
        "; a relative import needs the package around it: change to a folder above, and write the "
        "path of the file from there"
    )


def _not_there(ref: SubjectRef, missing: str) -> str:
    """Return why the module of a subject is not found, in the way in which it was written."""
    if ref.file:
        file = ref.file if ref.file.endswith(".py") else f"{ref.file}.py"
        return f"no file {file!r} in the current directory or its repository"
    file = f"{missing.replace('.', '/')}.py"
    return f"no module named {missing!r}, installed or in the current directory as {file}"


def _not_found(error: Exception) -> str | None:
    """Return the module that `from package import module` does not find."""
    found = re.match(r"cannot import name '(\w+)' from '([\w.]+)'", str(error))
    return f"{found[2]}.{found[1]}" if found and isinstance(error, ImportError) else None


def import_seeded(name: str) -> ModuleType:
    """Import a module with fixed seeds, so that a network made at import has the same weights each
    time.
    """
    if name not in sys.modules:
        torch.default_generator.manual_seed(SEED)  # not an accelerator's: no fork may follow that
        _seed_others(SEED)
    return importlib.import_module(name)


def _words(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def prepare(case: Case, enter: Callable[[str], None] = lambda _: None) -> Prepared:
    """Build the case's subject and its inputs on the case's device, in its mode.

    enter: is told the stage that begins (`bench.core.protocol`).

    channels_last applies to 4-dimensional weights and inputs; those of other dimensions (text,
    video) stay as they are.  Raises SubjectError, inputs.InputError, LayerError, or
    StepError for a layer that has no backward.
    """
    ref = parse(case.subject)
    enter("while it was built")
    whole, built_in, parts = _placed(case)
    iterators = growth.HeldIterators.of_module(whole)
    args, kwargs = inputs.make(
        case.input,
        whole,
        case.batch,
        DTYPES.get(case.dtype),
        device=case.device,
        memory_format=case.memory_format,
    )
    if case.mode == "training":
        need_gradients(whole, (args, kwargs))
    if ref.layer is not None:
        enter("in the call of the whole that shows what the layer is given")
        with mixed_dtypes_named(case, built_in):
            prepared = _layer(case, layer_name(ref.layer), whole, args, kwargs)
        parts = torch_compile.of_layer(parts, whole, prepared.module)
    else:
        prepared = Prepared(
            module=whole,
            args=args,
            kwargs=kwargs,
            loss=loss.of(whole, scaled=case.amp == "float16"),
            restore=None,
        )
    seed_all(SEED)  # dropout: the same masks, whatever was called before
    return dataclasses.replace(
        prepared,
        built_in=built_in,
        compiled=parts,
        iterators=iterators.within(prepared.module),
    )


@contextlib.contextmanager
def mixed_dtypes_named(case: Case, built_in: frozenset[str]) -> Iterator[None]:
    """Raise StepError where a call fails because of a dtype in which the subject was not built."""
    try:
        yield
    except RuntimeError as error:
        if case.dtype == AS_BUILT or built_in <= {case.dtype} or not OF_DTYPES.search(str(error)):
            raise
        text = error_line(error, 160)
        raise UnsupportedError(
            f"the subject is built in {' and '.join(sorted(built_in))}, and {case.dtype} alone is "
            f"not supported by it: give --dtype {AS_BUILT}, which keeps these (torch: {text})"
        ) from error


def need_gradients(whole: nn.Module, given: Any) -> None:
    """Require the gradient of the input where there are no weights to train."""
    if not any(parameter.requires_grad for parameter in whole.parameters()):
        for tensor in pytree.floating(given):
            tensor.requires_grad_()


def seed_all(seed: int) -> None:
    """Seed torch, Python and numpy: each of them may draw weights or masks."""
    torch.manual_seed(seed)
    _seed_others(seed)


def _seed_others(seed: int) -> None:
    random.seed(seed)
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed(seed)


def place_in_mode(case: Case) -> nn.Module:
    """Build the case's subject, or the network of its layer, place it and set its mode."""
    return _placed(case)[0]


def _placed(case: Case) -> tuple[nn.Module, frozenset[str], tuple[str, ...]]:
    """Return the placed module, the dtypes it was built in, and its compiled parts."""
    module, parts = _built(parse(case.subject))
    give_weights(module, case.input)
    built_in = frozenset(
        str(one.dtype).removeprefix("torch.")
        for one in (*module.parameters(), *module.buffers())
        if one.is_floating_point()
    )
    _to(module, case.device, DTYPES.get(case.dtype))  # as-built: none
    if case.memory_format == "channels_last":
        # not module.to(memory_format=…), which raises for 5-dimensional weights
        for tensor in (*module.parameters(), *module.buffers()):
            if twins.is_image(tensor):
                tensor.data = tensor.data.contiguous(memory_format=torch.channels_last)
    module.train(case.mode == "training")  # the result is not used: an override may return None
    return module, built_in, parts


def _to(module: nn.Module, device: str, real: torch.dtype | None) -> None:
    """Do `module.to(device, dtype)`, which would drop the imaginary part of complex numbers.

    Raises StepError where torch has no such numbers.
    """
    tensors = (*module.parameters(), *module.buffers())
    if real is None or not any(one.is_complex() for one in tensors):
        module.to(device=device, dtype=real)
        return
    if real is torch.bfloat16 and not any(one.is_floating_point() for one in tensors):
        raise UnsupportedError(
            "bfloat16 is not supported here: torch has no complex numbers of it, and all weights "
            "of the subject are complex"
        )
    module.to(device=device)
    torch_private.apply(module, lambda tensor: tensor.to(dtypes.like(tensor.dtype, real)))


def _layer(
    case: Case, name: str, whole: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Prepared:
    context: layers.Context = contextlib.nullcontext
    if case.amp != "off":
        device_type = case.device.partition(":")[0]
        context = functools.partial(torch.autocast, device_type, dtype=DTYPES[case.amp])
    backward = None
    if case.mode == "training":
        backward = functools.partial(_backward, loss.of(whole, scaled=False))
    training = case.mode == "training"
    try:
        seen = layers.capture(whole, name, args, kwargs, context, backward, training=training)
    except LayerError:
        if training:
            raise
        # Only a training forward calls it, as the auxiliary heads of some networks.
        seen = layers.capture(whole, name, args, kwargs, context)
    if case.mode == "training" and not seen.with_gradients:
        raise UnsupportedError(
            f"training is not supported here: the network calls {name} without gradients "
            "(torch.no_grad), so there is no backward"
        )
    gradient = loss.FixedGradient(scaled=case.amp == "float16")
    if case.mode == "training":
        with contextlib.suppress(loss.LossError):  # the step reports it, with its own message
            gradient(seen.output)  # made here, not in the first call
    else:
        for tensor in pytree.tensors((seen.args, seen.kwargs)):
            tensor.requires_grad_(False)
    return Prepared(
        module=seen.module,
        args=seen.args,
        kwargs=seen.kwargs,
        loss=gradient,
        restore=seen.writes_input,
        layer=seen.name,
    )


def _backward(of_output: loss.Loss, output: Any) -> None:
    """Run a backward as training does, so that recomputations in it (checkpoints) are seen."""
    of_output(output).backward()
