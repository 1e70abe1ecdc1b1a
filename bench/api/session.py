"""Make steps that can be timed from callables and inputs, and restore the process after them."""

import contextlib
import dataclasses
import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.amp import GradScaler
from torch.optim.lr_scheduler import LRScheduler

from bench.api import compiled, inputs, places, restored
from bench.api.held import Held, held_by
from bench.api.inputs import Inputs
from bench.api.settings import Settings
from bench.core.errors import UserError
from bench.worker.checks import state
from bench.worker.device.device import Device, DeviceError, open_device
from bench.worker.model import (
    compile_tools,
    growth,
    inplace,
    loss,
    pytree,
    random_state,
    torch_compile,
    twins,
)
from bench.worker.model.step import InferenceStep, InputState, Step, TrainingStep, autocast
from bench.worker.model.step_inputs import StepInputs

# The optimizer of the steps, or a function that makes one from parameters.
Optimizer = torch.optim.Optimizer | Callable[[Any], torch.optim.Optimizer]
Loss = Callable[[Any], Tensor]
Change = Callable[[Tensor], Tensor]
# Arguments that are restored at the end, and not before each call.
RESTORED = (nn.Module, torch.optim.Optimizer, LRScheduler, GradScaler, torch.Generator)
CALL = "call"  # the mode of a callable that is no module: it is called as it is


class SessionError(UserError):
    """Something that cannot be measured as it was asked for; the message says what to do."""


class CallStep(InputState):
    """A call of anything, in the caller's own grad mode and modes of modules.

    amp: is entered inside the call, as users do.
    """

    phases: tuple[str, ...] = (CALL,)
    whole = CALL
    skipped_steps = 0

    def __init__(
        self,
        function: Callable[..., Any],
        given: inputs.Arguments,
        *,
        device_type: str = "cpu",
        amp: str = "off",
    ) -> None:
        # A copy of a model or an optimizer for each call would be others' work.
        self._function, others = inputs.without(RESTORED, function, given)
        self._autocast = autocast(device_type, amp)
        self._inputs = StepInputs(*others, restore=None, gradients=True)
        self.output: Any = None

    def settle(self) -> None:
        """Do nothing: there is no gradient scaler."""

    def __call__(self, mark: Callable[[], None] | None = None) -> None:  # noqa: ARG002
        args, kwargs = self._inputs.take()
        self.output = None  # the last output would count towards this call's peak memory
        with self._autocast():
            self.output = self._function(*args, **kwargs)


class Wrapped(nn.Module):
    """A function as a module: it has the parameters and the mode of the modules that it uses."""

    def __init__(self, function: Callable[..., Any], modules: tuple[nn.Module, ...]) -> None:
        super().__init__()
        self.inner = nn.ModuleList(modules)
        self._function = function

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self._function(*args, **kwargs)


@dataclass(frozen=True, slots=True)
class Work:
    """The work by which one callable is measured.

    step: what is timed.  eager: the same without `compile`; the same object where it is not given.
    module: whose parameters it uses; None in the mode `call`.  loss: of a training.
    """

    name: str
    step: Step
    eager: Step
    module: nn.Module | None
    loss: Loss | None = None


@dataclass(frozen=True, slots=True)
class Session:
    """The measured work, in a process that is restored afterwards."""

    device: Device
    mode: str
    batch: int | None
    settings: Settings
    works: tuple[Work, ...]
    held: Held
    inputs: Inputs
    restorer: restored.Restorer
    in_use: Mapping[str, int]  # accelerators before the first call (`places.accelerators_in_use`)
    iterators: growth.HeldIterators  # before the first call
    compiling: torch_compile.CompileState | None  # before the first call; None: nothing compiles
    versions: list[int]  # of inputs that take turns, before the first call
    random_types: frozenset[str]  # of devices whose random numbers are restored

    def refuse_used_up(self) -> None:
        """Raise SessionError if the calls so far have used up an iterator that they read."""
        if said := self.iterators.used_up():
            raise SessionError(said)

    def sizes(self) -> dict[str, int]:
        """Return how much the modules hold beside their parameters."""
        found: dict[str, int] = {}
        for place, module in enumerate(self.held.modules):
            found |= {f"{place} {name}": size for name, size in growth.sizes(module).items()}
        return found

    @property
    def doubt(self) -> str | None:
        """Return why no two calls are the same, where the inputs show it."""
        if len(self.inputs.turns) == 1 or self.versions == inplace.versions(self.inputs.tensors):
            return None
        return (
            "the calls write to their inputs, which take turns, so that later calls work on other "
            "numbers; a single input is restored before each call"
        )

    def hidden_accelerator(self, outputs: Iterable[Any]) -> str | None:
        """Return the accelerator that a call has used, though neither inputs nor models showed it.

        outputs: of that call.  A call on the CPU has then not been waited for.
        """
        if self.mode != CALL or self.device.type != "cpu" or self.settings.device is not None:
            return None
        used = places.accelerators_in_use()
        return places.worked_on(self.in_use, used, pytree.tensors(tuple(outputs)))

    def on(self, device: Device) -> "Session":
        return dataclasses.replace(self, device=device)


@contextlib.contextmanager
def opened(
    functions: Mapping[str, Callable[..., Any]],
    given: Inputs,
    settings: Settings,
    *,
    of_output: Loss | None = None,
    optimizer: Optimizer | None = None,
) -> Iterator[Session]:
    """Make the steps of these callables; afterwards the process is as it was.

    Raises SessionError, SettingError, InputError, and what the callables raise.
    """
    mode = _mode(functions, settings)
    if mode != "training" and (of_output is not None or optimizer is not None):
        raise SessionError('loss and optimizer belong to a training: give mode="training"')
    if settings.compile == torch_compile.OFF:
        _refuse_compiled(functions)
    held = held_by([*functions.values(), of_output, optimizer], given.turns)
    _refuse_weights(held, training=mode == "training")
    device = _device(held, given, settings)
    iterators = _iterators(held)
    in_use = places.accelerators_in_use()
    random_types = {device.type, *(name.partition(":")[0] for name in in_use)}
    settings.require_effect(device.type)
    restorer = _restorer(held, given)
    change, of_input = _changes(settings, device)
    with contextlib.ExitStack() as stack:
        for type_ in random_types:
            stack.enter_context(random_state.kept(type_))
        stack.enter_context(state.switches_kept())
        if mode == "training":
            stack.enter_context(restored.gradients_enabled())
        elif settings.grad_mode in ("no_grad", "enabled"):
            stack.enter_context(torch.inference_mode(False))  # no other mode holds inside it
        if settings.amp == "off" and torch.is_autocast_enabled(device.type):
            stack.enter_context(torch.autocast(device.type, enabled=False))
        stack.enter_context(restorer.restored(change))
        settings.apply()
        given = given.mapped(of_input) if of_input else given
        _flatten(held)
        for module in held_by(functions.values()).modules if mode != CALL else ():
            if not (mode == "training" and module.training):  # a layer in another mode stays so
                module.train(mode == "training")
        if mode == "training" or settings.grad_mode == "enabled":
            given = given.mapped(_outside_inference_mode)
        if mode == "training" and not any(one.requires_grad for one in held.parameters):
            given = given.mapped(_needs_gradient)
        maker = _Maker(device, settings, mode, given, held, of_output, optimizer)
        works = tuple(maker.work(name, one) for name, one in functions.items())
        restorer.ready(held.modules)
        yield Session(
            device,
            mode,
            given.batch,
            settings,
            works,
            held,
            given,
            restorer,
            in_use,
            iterators,
            compiled.so_far(settings.compile),
            inplace.versions(given.tensors),
            frozenset(random_types),
        )


def _mode(functions: Mapping[str, Any], settings: Settings) -> str:
    for name, one in functions.items():
        if not callable(one):
            what = f"{name} is a {type(one).__name__}" if name else f"got a {type(one).__name__}"
            raise SessionError(
                f"{what}, which cannot be called: give a module, a function, or another callable"
            )
    if settings.mode is not None:
        return settings.mode
    modules = all(isinstance(one, nn.Module) for one in functions.values())
    return "inference" if modules or settings.grad_mode is not None else CALL


def refuse_unstarted(name: str, output: Any) -> None:
    """Raise SessionError where a call has only made a coroutine or a generator and run nothing."""
    kinds = {
        "a coroutine": inspect.iscoroutine(output),
        "a generator": inspect.isgenerator(output),
        "an async generator": inspect.isasyncgen(output),
    }
    for kind, found in kinds.items():
        if found:
            if inspect.iscoroutine(output):
                output.close()  # else Python warns that it was never awaited
            raise SessionError(
                f"a call of {name} gives {kind}, which has run nothing yet: measure a function "
                "that runs it to its end"
            )


def _refuse_compiled(functions: Mapping[str, Callable[..., Any]]) -> None:
    for name, one in functions.items():
        if said := compiled.despite_off(name, one, held_by([one]).modules):
            raise SessionError(said)


def _refuse_weights(held: Held, *, training: bool) -> None:
    for module in held.modules:
        for name, one in (*module.named_parameters(), *module.named_buffers()):
            if training and one.is_inference():
                raise SessionError(
                    f"{name} of {type(module).__name__} was made in inference_mode, so it cannot "
                    "be trained: build the model outside of inference_mode"
                )
            if torch.nn.parameter.is_lazy(one):
                raise SessionError(
                    f"{name} of {type(module).__name__} has no size yet, because the module is "
                    "lazy: call the model once before you measure it"
                )


def _restorer(held: Held, given: Inputs) -> restored.Restorer:
    """A step restores its own input itself; where inputs take turns, it does not know them."""
    if len(given.turns) == 1:
        return restored.Restorer(held, given.tensors)
    return restored.Restorer(dataclasses.replace(held, tensors=(*held.tensors, *given.tensors)), ())


def _iterators(held: Held) -> growth.HeldIterators:
    others = growth.HeldIterators.of(("a variable of the callable", one) for one in held.iterators)
    own = growth.HeldIterators.of_module(*held.modules)
    return growth.HeldIterators((*own.kept, *others.kept))


def _device(held: Held, given: Inputs, settings: Settings) -> Device:
    try:
        return open_device(places.device_of(held, given, settings.device))
    except (DeviceError, places.PlaceError) as error:
        raise SessionError(str(error)) from None


def _changes(settings: Settings, device: Device) -> tuple[Change, Change | None]:
    """Return how the numbers of the weights are copied, and how inputs are changed, if at all."""
    if settings.memory_format is None and settings.device is None:
        return twins.apart, None
    layout = inputs.laid_out(settings.memory_format) if settings.memory_format else None

    def moved(tensor: Tensor) -> Tensor:
        there = tensor if settings.device is None else tensor.to(device.name)
        return layout(there) if layout else there

    def copied(tensor: Tensor) -> Tensor:
        return moved(twins.apart(tensor))

    return copied, moved


def _flatten(held: Held) -> None:
    """Put the copied weights of recurrent layers into one block of memory, as cuDNN needs them."""
    for root in held.modules:
        for module in root.modules():
            if isinstance(module, nn.RNNBase):
                module.flatten_parameters()


def _outside_inference_mode(tensor: Tensor) -> Tensor:
    """Return a tensor that autograd accepts: a copy of one that was made in inference_mode."""
    return tensor.clone() if tensor.is_inference() else tensor


def _needs_gradient(tensor: Tensor) -> Tensor:
    """Return the input with a gradient required: it is the only one where nothing is trained."""
    return tensor.detach().requires_grad_() if tensor.is_floating_point() else tensor


@dataclass(frozen=True, slots=True)
class _Maker:
    """Makes the steps of all callables alike."""

    device: Device
    settings: Settings
    mode: str
    given: Inputs
    held: Held
    of_output: Loss | None
    optimizer: Optimizer | None

    def work(self, name: str, function: Callable[..., Any]) -> Work:
        ran = self._compiled(function)
        if self.mode == CALL:
            eager = self._call(function)
            step = eager if ran is function else self._call(ran)
            return Work(name, step, eager, None)
        whole = self._module(function, function)
        of_output = self._loss(whole) if self.mode == "training" else None
        eager_step = self._step(whole, of_output)
        if ran is function:
            return Work(name, eager_step, eager_step, whole, of_output)
        ran_step = self._step(self._module(ran, function), of_output)
        return Work(name, ran_step, eager_step, whole, of_output)

    def _call(self, function: Callable[..., Any]) -> CallStep:
        bound, given = self.given.bound(function)
        amp = self.settings.amp or "off"
        return CallStep(bound, given, device_type=self.device.type, amp=amp)

    def _loss(self, module: nn.Module) -> Loss:
        return self.of_output or loss.of(_owner(module), scaled=self.settings.amp == "float16")

    def _compiled(self, function: Callable[..., Any]) -> Callable[..., Any]:
        mode = self.settings.compile
        if mode in (None, torch_compile.OFF):
            return function
        if lacks := compile_tools.missing(str(self.device)):
            raise SessionError(f"{lacks.what}; {lacks.mend}")
        found: Callable[..., Any] = torch.compile(
            function, dynamic=False, mode=None if mode == "default" else mode
        )
        return found

    def _module(self, ran: Callable[..., Any], function: Callable[..., Any]) -> nn.Module:
        """Return the callable as a module.  ran: the function itself, or its compiled form."""
        if isinstance(ran, nn.Module) and len(self.given.turns) == 1:
            return ran
        bound, _ = self.given.bound(ran)
        wrapped = Wrapped(bound, held_by([function]).modules)
        wrapped.training = self.mode == "training"  # the modules inside have theirs
        return wrapped

    def _step(self, module: nn.Module, of_output: Loss | None) -> Step:
        args, kwargs = self.given.turns[0] if len(self.given.turns) == 1 else ((), {})
        amp = self.settings.amp or "off"
        graphs = torch_compile.uses_cuda_graphs(self.settings.compile or "off", self.device.type)
        if of_output is None:
            return InferenceStep(
                module,
                args,
                kwargs,
                device_type=self.device.type,
                amp=amp,
                grad_mode=self.settings.grad_mode or "inference_mode",
                restore=None,
                cudagraphs=graphs,
            )
        return TrainingStep(
            module,
            args,
            kwargs,
            loss=of_output,
            device_type=self.device.type,
            amp=amp,
            restore=None,
            cudagraphs=graphs,
            optimizer=self._made_optimizer(),
        )

    def _made_optimizer(self) -> torch.optim.Optimizer | None:
        """Return the user's optimizer, set so that its steps do not change the weights."""
        made: Any = self.optimizer
        if made is None:
            return None
        if not isinstance(made, torch.optim.Optimizer):
            made = made([one for one in self.held.parameters if one.requires_grad])
        if not isinstance(made, torch.optim.Optimizer):
            raise SessionError(
                f"optimizer gave a {type(made).__name__}: give an optimizer, or its class"
            )
        if _needs_closure(made):
            raise SessionError(
                f"{type(made).__name__} calls the model several times in one step, which has no "
                "forward and backward of its own: measure your step as a function instead"
            )
        for group in made.param_groups:
            if (rate := group.get("lr")) is not None:  # an optimizer may have none
                group["lr"] = rate.zero_() if isinstance(rate, Tensor) else 0.0
        return made


def _needs_closure(optimizer: torch.optim.Optimizer) -> bool:
    """Return whether `step()` alone is refused, as LBFGS does."""
    try:
        # Of its class: a scheduler of its rates puts a function of its own into the object.
        inspect.signature(type(optimizer).step).bind(optimizer)
    except TypeError:
        return True
    except ValueError:  # written in C: its call says
        return False
    return False


def _owner(module: nn.Module) -> nn.Module:
    """Return the module that may have a loss of its own."""
    if isinstance(module, Wrapped) and len(module.inner) == 1:
        return module.inner[0]
    return module
