"""One real call of a case: an inference, or a whole training step with its phases.

`bench.worker.timing` times a step: it calls it and passes a mark to set between two phases.
"""

import contextlib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from bench.core.text import error_line, number_of
from bench.worker.model import graph, growth, pytree
from bench.worker.model.loss import FixedGradient, no_backward_message
from bench.worker.model.output_paths import OutputPaths
from bench.worker.model.step_inputs import NoSteps, StepError, StepInputs, UnsupportedError

# GradScaler doubles its scale after so many steps, and the next step may overflow and be skipped.
# The scale does not grow inside a measurement, so that every sample does the same work.
NEVER = 2**30

# GradScaler starts at 2^16; 16 halvings, each a skipped step, lead to 1.
SETTLE_CALLS = 24
SETTLED_CALLS = 3  # in a row

# torch's message where a backward reaches a graph of an earlier call.
OF_AN_EARLIER_GRAPH = re.compile(
    r"backward through the graph a second time|modified by an inplace operation"
)

WARM_UP_CALLS = 3  # CUDA graphs are recorded in the second, replayed from the third on
_AMP_DTYPES = {"bfloat16": torch.bfloat16, "float16": torch.float16}

REDRAWN = (
    "the output has another size or layout than in the first call, so that calls do other work, "
    "and the gradient from which the backward starts was drawn inside the timed span; return the "
    "same sizes from each call, or give the module a method loss(output)"
)

# A function that sees the inputs and the loss (None where no number is computed) of a training
# step, when the gradients exist and before the optimizer takes them.
TrainingObserver = Callable[[Any, Tensor | None], None]


class Step(Protocol):
    """One call of a case that can be repeated."""

    @property
    def phases(self) -> tuple[str, ...]:
        """The phases in order; the mark is called between two of them."""

    @property
    def whole(self) -> str:
        """The phase that stands for the whole call: `forward` or `step`."""

    @property
    def output(self) -> Any:
        """The output of the last call; None before the first."""

    @property
    def restores(self) -> bool | None:
        """Return whether a call writes to inputs, which are then restored; None before a call."""

    @property
    def need_preparing(self) -> bool:
        """Return whether each call needs `prepare` first; known once the second is prepared."""

    @property
    def cold(self) -> bool:
        """Return whether inputs take turns, so that a cache does not hold the next one."""

    @property
    def doubt(self) -> str | None:
        """Return why no two calls are the same, where that is seen."""

    @property
    def skipped_steps(self) -> int:
        """Return the number of training steps that GradScaler skipped: they timed no optimizer."""

    def prepare(self, calls: int) -> int:
        """Restore the inputs for at most so many calls; return for how many.

        Call it outside the timed span, before `calls` calls.  A step whose layer does not write to
        its input has nothing to restore and can always be called.
        """

    def settle(self) -> None:
        """Call until GradScaler has found its scale.  Raises StepError if it does not."""

    def __call__(self, mark: Callable[[], None] | None = None) -> None:
        """Make one call.  Raises StepError."""


GRAD_MODES: Mapping[str, Callable[[], contextlib.AbstractContextManager[Any]]] = {
    "inference_mode": torch.inference_mode,
    "no_grad": torch.no_grad,
    "enabled": torch.enable_grad,
}
# torch's messages where autograd is impossible: of inference tensors, and of tensors without a
# graph.
NEEDS_AUTOGRAD = re.compile(r"[Ii]nference ?[Tt]ensor|[Ii]nferenceMode|inference_mode|require grad")


def grad_mode_in_force() -> str:
    """Return the grad mode in force, a key of GRAD_MODES."""
    if torch.is_inference_mode_enabled():
        return "inference_mode"
    return "enabled" if torch.is_grad_enabled() else "no_grad"


class InputState:
    """The properties of `Step` about inputs, for both kinds of step."""

    _inputs: StepInputs

    @property
    def restores(self) -> bool | None:
        return self._inputs.restores

    @property
    def need_preparing(self) -> bool:
        return self._inputs.need_preparing

    @property
    def cold(self) -> bool:
        return self._inputs.cold

    @property
    def doubt(self) -> str | None:
        return self._inputs.doubt

    def prepare(self, calls: int) -> int:
        return self._inputs.prepare(calls)


class InferenceStep(InputState):
    """A forward under a grad mode, with autocast entered inside the call as users do."""

    phases = ("forward",)
    whole = "forward"
    skipped_steps = 0

    def __init__(
        self,
        module: Callable[..., Any],
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        *,
        device_type: str,
        amp: str = "off",
        grad_mode: str = "inference_mode",
        restore: bool | None = False,
        rotate_bytes: int = 0,
        cudagraphs: bool = False,
    ) -> None:
        """Make the step.

        amp: `off`, `bfloat16` or `float16`.

        restore: the layer writes to its input; None = its first call shows whether it does.

        grad_mode: `inference_mode`, `no_grad` or `enabled`.

        rotate_bytes: rotate through inputs that together exceed this, so that none is in a cache of
        half of it when its turn comes again.  CUDA graphs copy the input to a place of their own
        first: that copy is part of the call, and it reads from memory.

        Raises StepError.
        """
        _require_mode(module, training=False)
        self.output: Any = None
        self._module = module
        self._inputs = StepInputs(
            args, kwargs, restore=restore, gradients=False, rotate_bytes=rotate_bytes
        )
        self._autocast = autocast(device_type, amp)
        self._grad_mode = GRAD_MODES[grad_mode]
        self._asked = grad_mode
        self.grad_mode: str | None = None  # as it was at the end of the first call
        self._cudagraphs = cudagraphs
        self._first_call_checked = False  # at the first output

    def settle(self) -> None:
        """Do nothing: nothing is scaled."""

    def __call__(self, mark: Callable[[], None] | None = None) -> None:  # noqa: ARG002
        args, kwargs = self._inputs.take()
        self.output = None  # the last output would count towards this call's peak memory
        if self._cudagraphs:
            torch.compiler.cudagraph_mark_step_begin()
        try:
            with self._grad_mode(), self._autocast():
                self.output = self._module(*args, **kwargs)
                if not self._first_call_checked:
                    self.grad_mode = grad_mode_in_force()
        except RuntimeError as error:
            if instead := _grad_mode_error(error, self._asked):
                raise instead from error
            raise
        if not self._first_call_checked:
            self._first_call_checked = True
            if not any(True for _ in pytree.tensors(self.output)):
                raise StepError(_no_tensor_message(self.output))


def _grad_mode_error(error: RuntimeError, asked: str) -> StepError | None:
    """Say which grad mode to request instead, where the forward needs autograd."""
    if asked == "enabled" or not NEEDS_AUTOGRAD.search(str(error)):
        return None
    others = "no_grad or enabled" if asked == "inference_mode" else "enabled"
    text = error_line(error, 120)
    return UnsupportedError(
        f"the forward takes gradients itself, which is not supported under {asked}: give "
        f"--grad-mode {others} (torch: {text})"
    )


class TrainingStep(InputState):
    """Forward and loss under autocast, backward outside it, SGD with learning rate 0.

    Gradients are None before each backward: setting them to None belongs to the optimizer phase.
    The step of float16 AMP goes through GradScaler, whose `step` waits on the host for the device
    (it asks whether a gradient overflowed), as in real training.
    """

    whole = "step"

    def __init__(
        self,
        module: Callable[..., Any],
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        *,
        loss: Callable[[Any], Tensor],
        device_type: str,
        amp: str = "off",
        restore: bool | None = False,
        rotate_bytes: int = 0,
        cudagraphs: bool = False,
        optimizer: torch.optim.Optimizer | None = None,
    ) -> None:
        """loss: of the module's output, a tensor of one number.

        optimizer: the user's own, its learning rates set to 0; None = SGD.

        Raises StepError.
        """
        _require_mode(module, training=True)
        self.output: Any = None
        self._module = module
        self._loss = loss
        self._inputs = StepInputs(
            args, kwargs, restore=restore, gradients=True, rotate_bytes=rotate_bytes
        )
        self._autocast = autocast(device_type, amp)
        self._cudagraphs = cudagraphs
        self._first_call_checked = False  # at the first backward
        self._optimizer = optimizer or _optimizer(module)
        self._scaler = _scaler(self._optimizer, device_type, amp)
        # A fixed gradient needs no scalar, unless a GradScaler has to multiply one.
        self._fixed = loss if isinstance(loss, FixedGradient) else None
        self._seeded = None if self._scaler else self._fixed
        self._output_paths = OutputPaths() if self._fixed else None
        self._redrawn = False  # a fixed gradient, after the first call
        self._scaled_steps = 0  # handed to GradScaler
        self._taken_steps = 0  # steps that it took
        if self._optimizer and self._scaler:
            self._optimizer.register_step_post_hook(self._count_step)

    @property
    def phases(self) -> tuple[str, ...]:
        return ("forward", "backward", "optimizer") if self._optimizer else ("forward", "backward")

    @property
    def skipped_steps(self) -> int:
        return self._scaled_steps - self._taken_steps

    @property
    def doubt(self) -> str | None:
        """Return why calls differ.  Walks through the last output: never call it while timing."""
        of_output = self._output_paths.doubt(self.output) if self._output_paths else None
        of_gradient = REDRAWN if self._redrawn else None
        return "; ".join(one for one in (super().doubt, of_output, of_gradient) if one) or None

    @property
    def scale(self) -> float:
        """Return GradScaler's factor of the loss, and so of the gradients; 1 without one."""
        return float(self._scaler.get_scale()) if self._scaler else 1.0

    @property
    def optimizer_state(self) -> list[Tensor]:
        """Return the optimizer's state between steps; SGD without momentum has none."""
        return list(pytree.tensors(list(self._optimizer.state.values()))) if self._optimizer else []

    def settle(self) -> None:
        if not (self._optimizer and self._scaler):
            return
        taken_in_a_row = 0
        for _ in range(SETTLE_CALLS):
            skipped = self.skipped_steps
            self.prepare(1)
            self()
            taken_in_a_row = taken_in_a_row + 1 if self.skipped_steps == skipped else 0
            if taken_in_a_row == SETTLED_CALLS:
                return
        raise NoSteps(
            f"GradScaler skipped {self.skipped_steps} of "
            f"{number_of(self._scaled_steps, 'step')}: the gradients "
            "are not finite in float16 at any scale"
        )

    def _backward_starts(self) -> Any:
        """Return the start of the backward: with a fixed gradient the tensors of the output,
        without a walk.
        """
        return (
            self.output if self._output_paths is None else self._output_paths.tensors(self.output)
        )

    def _backward(self, loss: Tensor | None) -> None:
        try:
            self._run_backward(loss)
        except RuntimeError as error:
            if instead := _kept_graph_error(error, self._module):
                raise instead from error
            raise

    def _run_backward(self, loss: Tensor | None) -> None:
        if not torch.is_grad_enabled():
            raise StepError(
                "the subject has switched gradients off for the whole process "
                "(torch.set_grad_enabled), so there is no backward"
            )
        if self._seeded is not None:
            torch.autograd.backward(*self._seeded.seeds(self._backward_starts()))
            return
        if loss is None or not loss.requires_grad:
            raise UnsupportedError(no_backward_message(self.output if loss is None else loss))
        (self._scaler.scale(loss) if self._scaler else loss).backward()

    def __call__(
        self, mark: Callable[[], None] | None = None, observe: TrainingObserver | None = None
    ) -> None:
        args, kwargs = self._inputs.take()
        self.output = None  # the last output would count towards this call's peak memory
        drawn = self._fixed.drawn if self._fixed else 0
        if self._cudagraphs:
            torch.compiler.cudagraph_mark_step_begin()
        with self._autocast():
            self.output = self._module(*args, **kwargs)
            loss = None if self._seeded else self._loss(self._backward_starts())
        if mark:
            mark()
        self._backward(loss)
        if self._fixed and self._fixed.drawn != drawn:
            self._redrawn = self._first_call_checked
        if not self._first_call_checked:
            self._first_call_checked = True
            self._require_gradients((args, kwargs))
        if observe:
            observe((args, kwargs), None if self._fixed else loss)
        if self._optimizer:
            if mark:
                mark()
            if self._scaler:
                self._scaled_steps += 1
                self._scaler.step(self._optimizer)
                self._scaler.update()
            else:
                self._optimizer.step()
            self._optimizer.zero_grad(set_to_none=True)
        self._inputs.drop_gradients()

    def _require_gradients(self, inputs: Any) -> None:
        """Raise StepError where the backward stopped at an operator without a derivative."""
        if graph.without_derivative(pytree.floating(self.output)):
            raise UnsupportedError(
                "training is not supported here: torch has no derivative of an operator that the "
                "output depends on, so the backward stops there"
            )
        weights = [*self._module.parameters()] if isinstance(self._module, nn.Module) else []
        for group in self._optimizer.param_groups if self._optimizer else ():
            weights += group["params"]  # those of a user's own optimizer may lie elsewhere
        # The first call gets copies of the inputs: their gradients arrive at the leaves behind.
        leaves = graph.leaves((*weights, *pytree.tensors(inputs)))
        if all(one.grad is None for one in leaves):
            raise UnsupportedError(
                "training is not supported here: the backward reached no parameter and no input: "
                "an operator on its way gives no gradient"
            )

    def _count_step(self, *_: object) -> None:
        self._taken_steps += 1


def _kept_graph_error(error: RuntimeError, module: Callable[..., Any]) -> StepError | None:
    """Say where a graph is kept that a backward cannot pass again, and what to do."""
    if not OF_AN_EARLIER_GRAPH.search(str(error)) or not isinstance(module, nn.Module):
        return None
    text = re.split(r" \(|[.:]", str(error))[0]
    names = growth.graphs_kept(module)
    if not names:
        return None
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return UnsupportedError(
        f"training is not supported here: {names[0]}{more} holds a tensor with its graph, through "
        "which the next backward goes again; keep tensor.detach(), or compute it anew in each call "
        f"(torch: {text})"
    )


def warm_up_calls(step: Step) -> None:
    """Return the number of calls before the one that is examined, outside of the timing."""
    for _ in range(WARM_UP_CALLS):
        step.prepare(1)
        step()


def _no_tensor_message(output: Any) -> str:
    unknown = pytree.unknown(output)
    inside = f"; a tensor inside {', '.join(unknown)} would not be seen" if unknown else ""
    return (
        f"no tensor was found in the output, a {type(output).__name__}, so there is no work to "
        "wait for (tuples, lists, dicts and the attributes of objects were looked at"
        f"{inside})"
    )


def _require_mode(module: Callable[..., Any], *, training: bool) -> None:
    """Raise StepError for a model in the wrong mode: its work differs (BatchNorm, dropout)."""
    if isinstance(module, nn.Module) and module.training is not training:
        mode, call = ("training", "train()") if training else ("inference", "eval()")
        raise StepError(f"the module is in the wrong mode for {mode}: call {call} on it")


def autocast(device_type: str, amp: str) -> Callable[[], contextlib.AbstractContextManager[Any]]:
    """Make the context of one call: its cache of cast weights must not outlive the call.

    Where a device has no autocast, torch warns and runs without it: that is a StepError here.
    """
    if amp == "off":
        return contextlib.nullcontext
    if amp not in _AMP_DTYPES:
        raise StepError(f"amp {amp!r} is unknown; choose from off, {', '.join(_AMP_DTYPES)}")
    dtype = _AMP_DTYPES[amp]
    with torch.autocast(device_type, dtype=dtype):
        if not torch.is_autocast_enabled(device_type):
            raise UnsupportedError(f"autocast to {amp} is not supported on {device_type}")
    return lambda: torch.autocast(device_type, dtype=dtype)


def _optimizer(module: Callable[..., Any]) -> torch.optim.SGD | None:
    """Return an optimizer of all that requires a gradient; None where nothing does.

    The learning rate is 0: the same arithmetic, and a model that does not drift.
    """
    parameters = module.parameters() if isinstance(module, nn.Module) else ()
    trained = [parameter for parameter in parameters if parameter.requires_grad]
    return torch.optim.SGD(trained, lr=0.0) if trained else None


def _scaler(
    optimizer: torch.optim.Optimizer | None, device_type: str, amp: str
) -> torch.amp.GradScaler | None:
    """Return a GradScaler for float16 AMP; bfloat16 has float32's range and needs none."""
    if amp != "float16" or optimizer is None:
        return None
    weights = {weight.dtype for group in optimizer.param_groups for weight in group["params"]}
    if torch.float16 in weights:
        raise UnsupportedError(
            "float16 AMP trains float32 weights: GradScaler is not supported with float16 weights"
        )
    return torch.amp.GradScaler(device_type, growth_interval=NEVER)
