"""The layers of a network, and the input of each inside the network.

One untimed, grad-enabled call of the whole shows both: in training mode the layers that there are,
in the mode of a case the input of one.  A layer is a module that was
called and that called no other.  Where nothing inside is called (MultiheadAttention multiplies with
the weights of its out_proj itself), the outer module is the layer.  So it is where a
parametrization makes its weight (weight_norm), and where TorchScript runs the inside.
"""

import contextlib
import dataclasses
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.nn.utils import parametrize

from bench.worker.device import torch_private
from bench.worker.model import inplace, layer_names, pytree, signature, twins

# A number that is read or written takes about as long as so many multiply-adds (two cores).
ELEMENT_WORK = 10

Context = Callable[[], contextlib.AbstractContextManager[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One call of a module inside a network."""

    name: str  # dotted; name#2 for the second call
    alias: str | None  # the network's own name for it, from its `layer_names`
    type: str
    parameters: int
    writes_input: bool
    same_as: tuple[str, ...] = ()  # names of equal calls, measured through this one, and aliases
    calls: int = 1  # of these and this one together
    work: float = 0.0  # of one call; see `_work`


@dataclass(frozen=True, slots=True, kw_only=True)
class Captured:
    """A layer with its inputs inside the network."""

    name: str
    module: nn.Module
    args: tuple[Any, ...]  # leaves; requires_grad as inside the network
    kwargs: dict[str, Any]
    output: Any  # as inside the network, without its graph
    writes_input: bool
    with_gradients: bool  # False: the network calls it under torch.no_grad, or inference_mode


def list_layers(
    module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> tuple[tuple[Layer, ...], tuple[Layer, ...]]:
    """Return the layers in the order of their calls, equal ones grouped; and the other called
    modules.

    Calls `module` once; its modes and buffers are restored.
    """
    watch = _CallRecorder(layer_names.dotted_names(module))
    with watch.on(module), torch.enable_grad():
        _call(module, args, kwargs)
    leaves: dict[str, list[_Call]] = {}
    for call in watch.calls:
        if call.is_leaf:
            leaves.setdefault(call.key, []).append(call)
    aliases = layer_names.aliases(module)
    others = [call for call in watch.calls if not call.is_leaf]
    return (
        tuple(_layer(first, aliases, same) for first, *same in leaves.values()),
        tuple(_layer(call, aliases, ()) for call in others),
    )


def leaves(
    module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> tuple[Layer, ...]:
    """Return the layers that `SUBJECT/*` means."""
    return list_layers(module, args, kwargs)[0]


def capture(
    module: nn.Module,
    name: str,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    context: Context = contextlib.nullcontext,
    backward: Callable[[Any], None] | None = None,
    *,
    training: bool = True,
) -> Captured:
    """Capture one layer, or any other called module, with its input inside `module`.

    name:     dotted or the network's own; `name#2` for the second call.
    context:  entered around the call, e.g. autocast.
    training: mode of the network in this call: BatchNorm, dropout and shapes can depend on it.
    backward: runs the backward of the whole, from its output.  Where the layer is called without
              gradients, the backward may call it again with gradients: reentrant checkpoints do so,
              and other functions that recompute what they did not keep.

    Calls `module` up to the end of that layer; its modes, buffers and gradients are restored.
    Raises LayerError.
    """
    names = layer_names.dotted_names(module)
    watch = _CallRecorder(names, wanted=layer_names.resolve(module, name, names))
    watch.waits = backward is not None
    with (
        watch.on(module, training=training),
        _gradients_restored(module, args, kwargs),
        torch.enable_grad(),
        contextlib.suppress(_StopCall),
    ):
        with context():
            output = _call(module, args, kwargs)
        if backward is not None and watch.captured is not None:
            watch.in_backward = True
            with contextlib.suppress(Exception):  # then there is none, and none is seen
                backward(output)
    if watch.captured is None:
        called = dict.fromkeys(call.name for call in watch.calls)
        there_is = layer_names.suggestion(name, called, layer_names.aliases(module))
        raise layer_names.LayerError(f"{name!r} is not called: {there_is}")
    return watch.captured


def _call(module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """Call with copies of tensors that need a gradient: nothing may write to a leaf that does."""
    given = (args, dict(kwargs))
    own, named = pytree.map_tensors(lambda one: one.clone() if one.requires_grad else one, given)
    return module(*own, **named)


class _StopCall(BaseException):
    """Ends the call of the whole network once the layer has been seen.

    It is no error, and `except Exception` in the network must not stop it.
    """


@dataclass(slots=True)
class _Call:
    """One call of a module, as the hooks see it."""

    name: str
    module: nn.Module
    key: str  # equal calls have the same
    with_gradients: bool
    inputs: list[Tensor]
    versions: list[int]
    is_leaf: bool = True
    writes_input: bool = False
    work: float = 0.0


@dataclass(slots=True)
class _CallRecorder:
    """Hooks on every module inside a network."""

    names: Mapping[nn.Module, str]
    wanted: str | None = None  # capture this call instead of describing all
    waits: bool = False  # continue where it has no gradients: a backward follows
    in_backward: bool = False
    calls: list[_Call] = field(default_factory=list)
    captured: Captured | None = None
    _making_weights: int = 0
    _open: list[_Call] = field(default_factory=list)
    _counts: dict[str, int] = field(default_factory=dict)
    _given: tuple[tuple[Any, ...], dict[str, Any]] | None = None

    @contextlib.contextmanager
    def on(self, whole: nn.Module, *, training: bool = True) -> Iterator[None]:
        """Set the mode and hooks; both are restored at the end."""
        handles = []
        with restored(whole), _not_compiled():
            whole.train(training)
            try:
                for inner in self.names:
                    # Before the module's own hooks, which are part of its work.  Not through its
                    # own methods, which a ScriptModule refuses, though it calls its hooks.
                    handles += [
                        nn.Module.register_forward_pre_hook(
                            inner, self._enter, prepend=True, with_kwargs=True
                        ),
                        nn.Module.register_forward_hook(inner, self._leave),
                    ]
                for making in _weight_makers(whole):
                    handles += [
                        making.register_forward_pre_hook(self._begin_weight),
                        making.register_forward_hook(self._end_weight, always_call=True),
                    ]
                yield
            finally:
                for handle in handles:
                    handle.remove()
                self._open.clear()

    def _begin_weight(self, *_: object) -> None:
        self._making_weights += 1

    def _end_weight(self, *_: object) -> None:
        self._making_weights -= 1

    def _enter(self, module: nn.Module, args: Any, kwargs: dict[str, Any]) -> None:
        if self._making_weights:
            return  # a layer that another one's parametrization calls
        name = self.names[module]
        count = self._counts[name] = self._counts.get(name, 0) + 1
        name = name if count == 1 else f"{name}#{count}"
        for outer in self._open:
            outer.is_leaf = False
        if self._is_wanted(module, name):
            self._given = pytree.map_tensors(twins.twin, (args, kwargs))
        grad = torch.is_grad_enabled()
        given = (args, kwargs)
        key = "" if self.wanted else f"{grad} {_configuration(module)} {signature.of(given)}"
        inputs = list(pytree.tensors(given))
        call = _Call(name, module, key, grad, inputs, inplace.versions(inputs))
        self.calls.append(call)
        self._open.append(call)

    def _is_wanted(self, module: nn.Module, name: str) -> bool:
        """Return whether this is the call to capture; in the backward by its module alone.

        Calls have another order in the backward.
        """
        if self.wanted is None or not self.in_backward:
            return self.wanted == name
        return self.names[module] == self.wanted.partition("#")[0] and torch.is_grad_enabled()

    def _leave(self, module: nn.Module, _args: Any, output: Any) -> None:
        if self._making_weights:
            return
        call = self._open.pop()
        while call.module is not module:  # a call that raised, and whose caller continued
            call = self._open.pop()
        call.writes_input = inplace.versions(call.inputs) != call.versions
        call.work = _work(module, call.inputs, list(pytree.tensors(output)))
        call.inputs.clear()  # would keep every activation of the network
        if self._given is None or not self._is_wanted(module, call.name):
            return
        found = Captured(
            name=call.name,
            module=module,
            args=self._given[0],
            kwargs=self._given[1],
            output=pytree.map_tensors(_without_graph, output),
            writes_input=call.writes_input,
            with_gradients=call.with_gradients,
        )
        self._given = None
        if self.captured is None:
            self.captured = found
            if not self.waits or found.with_gradients:
                raise _StopCall
        elif not self.captured.with_gradients and _have_same_inputs(found, self.captured):
            self.captured = dataclasses.replace(found, name=self.captured.name)


def _have_same_inputs(one: Captured, other: Captured) -> bool:
    """Return whether two calls of one module have the same inputs, as those of a backward have."""
    first, second = (list(pytree.tensors((each.args, each.kwargs))) for each in (one, other))
    return len(first) == len(second) and not inplace.changed(first, second)


def _weight_makers(whole: nn.Module) -> list[nn.Module]:
    return [one for one in whole.modules() if isinstance(one, parametrize.ParametrizationList)]


def _not_compiled() -> contextlib.AbstractContextManager[Any]:
    """Run parts that the network compiles itself as Python code: hooks are Python."""
    if torch_private.DYNAMO not in sys.modules:  # its import takes 2 s
        return contextlib.nullcontext()
    stance: contextlib.AbstractContextManager[Any] = torch.compiler.set_stance("force_eager")
    return stance


@contextlib.contextmanager
def _gradients_restored(module: nn.Module, *given: Any) -> Iterator[None]:
    leaves = (*module.parameters(), *pytree.tensors(given))
    before = [(one, one.grad) for one in leaves if one.is_leaf]
    try:
        yield
    finally:
        for one, gradient in before:
            one.grad = gradient


def _without_graph(tensor: Tensor) -> Tensor:
    return tensor.detach().requires_grad_(tensor.requires_grad)


@contextlib.contextmanager
def restored(whole: nn.Module) -> Iterator[None]:
    """Restore modes, buffers and the random state at the end of the block.

    Lazy layers keep their sizes.
    """
    modes = [(module, module.training) for module in whole.modules()]
    buffers = [
        (module, name, buffer, None if buffer is None else buffer.detach().clone())
        for module in whole.modules()
        for name, buffer in torch_private.own_buffers(module).items()
        if buffer is None or not is_lazy(buffer)
    ]
    random = torch.get_rng_state()
    try:
        yield
    finally:
        torch.set_rng_state(random)
        for module, training in modes:
            module.training = training
        with torch.no_grad():
            for module, name, buffer, before in buffers:
                if buffer is not None and before is not None:
                    buffer.copy_(before)
                torch_private.set_own_buffer(module, name, buffer)


def _layer(call: _Call, aliases: Mapping[str, str], same: Sequence[Any]) -> Layer:
    others = (one for twin in same for one in (twin.name, layer_names.alias(twin.name, aliases)))
    return Layer(
        name=call.name,
        alias=layer_names.alias(call.name, aliases),
        type=parametrize.type_before_parametrizations(call.module).__name__,
        parameters=sum(one.numel() for one in call.module.parameters() if not is_lazy(one)),
        writes_input=call.writes_input,
        same_as=tuple(other for other in others if other is not None),
        calls=1 + len(same),
        work=call.work,
    )


def _work(module: nn.Module, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> float:
    """Estimate the multiply-adds of a call from sizes alone, so that it is always the same.

    Each weight is used at every position of the output.
    """
    made = sum(one.numel() for one in outputs)
    touched = made + sum(one.numel() for one in inputs)
    weights = [one for one in module.parameters() if not is_lazy(one) and one.dim() > 1]
    return ELEMENT_WORK * touched + sum(
        one.numel() * max(1.0, made / one.shape[0]) for one in weights if one.numel()
    )


_OF_EVERY_MODULE = frozenset(vars(nn.Module()))


def _configuration(module: nn.Module) -> str:
    """Return type and settings of a module and of the modules inside it.

    Its `repr` alone is not enough: a module without `extra_repr` would equal every other of its
    type.
    """
    parts = []
    for name, inner in module.named_modules():
        settings = {k: v for k, v in vars(inner).items() if k not in _OF_EVERY_MODULE}
        if isinstance(inner, torch.jit.ScriptModule):  # its attributes are not Python's
            settings = {"graph": str(inner.inlined_graph)}
        shapes = {**torch_private.own_parameters(inner), **torch_private.own_buffers(inner)}
        kind = f"{type(inner).__module__}.{type(inner).__qualname__}"
        parts.append(f"{name} {kind} {inner.training} {_settings(settings)} {_settings(shapes)}")
    return "; ".join(parts)


def _settings(settings: Mapping[str, Any]) -> str:
    return signature.of({name: settings[name] for name in sorted(settings)})
