"""The names of torch that torch does not promise to keep: this module alone uses them.

A name is here if it begins with an underscore, or if no page of torch's documentation has it.
Each function says in which versions of torch its name was seen, and what happens in one without
it: another way, or a TorchPrivateError that says which name is missing.
"""

import contextlib
import importlib
import importlib.util
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, supported_activities

TESTED = "2.11 and 2.13"  # the versions that all tests have run on
DYNAMO, INDUCTOR = "torch._dynamo", "torch._inductor.compile_fx"
VECTORS = "torch._inductor.cpu_vec_isa"
CACHE_DIR = "TORCHINDUCTOR_CACHE_DIR"
GRAPH_TREES = "torch._inductor.cudagraph_trees"
RECORDED = "cudagraph_recorded_non_static_inputs"

# Kineto's own names of what it records (libkineto, ActivityType.cpp).
OPERATOR, RANGE, RUNTIME, MARK, OVERHEAD = (
    "cpu_op",
    "user_annotation",
    "cuda_runtime",
    "cpu_instant_event",
    "overhead",
)
KERNEL, COPY, SET, DEVICE_RANGE, WAIT = (
    "kernel",
    "gpu_memcpy",
    "gpu_memset",
    "gpu_user_annotation",
    "cuda_sync",
)
# Calls of CUDA, ROCm and oneAPI: cudaLaunchKernel, cuLaunchKernel, hipMemcpyAsync,
# urEnqueueKernelLaunch, zeCommandQueue…  Operators have colons in their names, and autograd's
# nodes begin otherwise.
_RUNTIME_CALL = re.compile(r"(?:cuda|cu|hip|ur|ze)[A-Z]\w*")
# The profiler's own cost, as CUPTI names it (libkineto, CuptiActivity.cpp, overheadKindString).
_OVERHEADS = frozenset(
    {
        "Activity Buffer Request",
        "Command Buffer Full",
        "Driver Compiler",
        "Instrumentation",
        "Lazy Function Loading",
        "Resource",
        "Runtime Triggered Module Loading",
        "UVM Activity Init",
    }
)
# Waits that CUPTI records on the device's side (libkineto, syncTypeString).
_DEVICE_WAIT = re.compile(r"(?:Event|Stream|Context) (?:Sync\w*|Wait\w*)(?: Event)?")


class TorchPrivateError(RuntimeError):
    """This torch lacks a name that there is no other way for; the message says which."""

    def __init__(self, name: str, purpose: str) -> None:
        super().__init__(
            f"torch {torch.__version__} has no {name}, which {purpose} needs; "
            f"install a torch that this suite was tested with ({TESTED})"
        )


# --- imports ---------------------------------------------------------------------------------


def import_dynamo() -> None:
    """Import `torch._dynamo` now: the first optimizer would import it in every child, 2 s.

    Seen in 2.11 to 2.13.  Without it nothing is imported, and each child takes its own time.
    """
    with contextlib.suppress(ModuleNotFoundError):
        importlib.import_module(DYNAMO)


def import_inductor() -> None:
    """Import `torch._inductor.compile_fx` now, which each compiled case would import for itself.

    Seen in 2.11 to 2.13; in 2.11 its import asks CUDA for its devices.  Without it as above.
    """
    with contextlib.suppress(ModuleNotFoundError):
        importlib.import_module(INDUCTOR)


def check_vector_instructions(folder: Path) -> None:
    """Let inductor find out now which vector instructions its C++ can use, for all children.

    It compiles a test and loads it, which each compiled case would do for itself: 4 s, and 0.7 s
    where `folder` has the compiled test.  Seen in 2.11 to 2.13
    (`torch._inductor.cpu_vec_isa.pick_vec_isa`).  If it fails, each case checks by itself, and says
    what is missing.

    folder: of the run.  It appears when a check is complete, since torch takes every file that is
            there for a whole one.
    """
    found: Any = None
    own = folder if folder.exists() else folder.with_name(f"{folder.name}-{os.getpid()}")
    before = os.environ.get(CACHE_DIR)
    os.environ[CACHE_DIR] = str(own)
    try:
        found = importlib.import_module(VECTORS)
        if not found.pick_vec_isa():
            _forget_vector_check(found)
        elif own != folder:
            with contextlib.suppress(OSError):  # another fork server was first
                own.rename(folder)
    except Exception:  # the case that compiles says what is missing
        _forget_vector_check(found)
    finally:
        if before is None:
            os.environ.pop(CACHE_DIR, None)
        else:
            os.environ[CACHE_DIR] = before


def _forget_vector_check(vectors: Any) -> None:
    """Let each case check by itself: a check that failed once may hold the next time."""
    with contextlib.suppress(Exception):
        vectors.valid_vec_isa_list.cache_clear()
        for kind in {vectors.VecISA, *map(type, vectors.supported_vec_isa_list)}:
            for name in ("__bool__", "_VecISA__bool__impl"):
                if clear := getattr(vars(kind).get(name), "cache_clear", None):
                    clear()


def dynamo_counters() -> Mapping[str, Mapping[str, int]]:
    """Return dynamo's counters of this process (`torch._dynamo.utils.counters`), by kind and name.

    A kind that did not happen is an empty Counter.  Imports dynamo: 2 s the first time.
    Seen in 2.11 to 2.13.  Raises TorchPrivateError: nothing else proves that compiled code ran.
    """
    try:
        utils = importlib.import_module(f"{DYNAMO}.utils")
        return utils.counters  # type: ignore[no-any-return]
    except (ModuleNotFoundError, AttributeError):
        raise TorchPrivateError("torch._dynamo.utils.counters", "a compiled case") from None


def counters_so_far() -> Mapping[str, Mapping[str, int]]:
    """Return `dynamo_counters`, or nothing if this process has not imported dynamo."""
    return getattr(sys.modules.get(f"{DYNAMO}.utils"), "counters", {})


def cuda_graph_recorded() -> bool | None:
    """Return whether inductor has recorded a CUDA graph in this process; None where nothing tells.

    `cudagraph_recorded_non_static_inputs` among the counters, 0 or more once there is a graph, and
    `CUDAGraphTreeManager.roots`, the first graphs of each tree: seen in 2.11 to 2.13.  The module
    of both is imported when the first graph is to be recorded.
    """
    if RECORDED in counters_so_far().get("inductor", {}):
        return True
    trees = sys.modules.get(GRAPH_TREES)
    if trees is None:
        return False if importlib.util.find_spec(GRAPH_TREES) else None
    try:
        containers = trees.get_obj(trees.local, "tree_manager_containers").values()
        managers = [one.tree_manager for one in containers]
        return any(one is not None and any((one.roots or {}).values()) for one in managers)
    except (AttributeError, RuntimeError):
        return None


def compiled_from(module: object) -> nn.Module | None:
    """Return the module inside of torch.compile's wrapper (`OptimizedModule._orig_mod`), or None.

    Seen in 2.11 to 2.13.
    """
    found = getattr(module, "_orig_mod", None)
    return found if isinstance(found, nn.Module) else None


def is_compiled(one: object) -> bool:
    """Return whether a call of this module or function goes through `torch.compile`.

    `Module._compiled_call_impl`, and of functions `_torchdynamo_orig_callable` without
    `_torchdynamo_disable`: seen in 2.11 to 2.13.
    """
    if compiled_from(one) is not None or getattr(one, "_compiled_call_impl", None) is not None:
        return True
    wrapped = getattr(one, "_torchdynamo_orig_callable", None) is not None
    return wrapped and not isinstance(one, nn.Module) and not is_kept_eager(one)


def is_kept_eager(one: object) -> bool:
    """Return whether `torch.compiler.disable` made this function."""
    return bool(getattr(one, "_torchdynamo_disable", False))


def uncompile(module: nn.Module) -> bool:
    """Undo `module.compile()`; whether there was anything to undo.

    `Module._compiled_call_impl`: seen in 2.11 to 2.13.
    """
    if getattr(module, "_compiled_call_impl", None) is None:
        return False
    module._compiled_call_impl = None
    return True


# --- forks -----------------------------------------------------------------------------------


def in_bad_fork(device_type: str) -> bool:
    """Return whether this process was forked after torch had initialised that type's driver.

    `torch.cuda._is_in_bad_fork`, `torch.xpu._is_in_bad_fork`: seen in 2.11 to 2.13.  Without it
    False: a case that then runs fails in torch's own words.
    """
    backend = getattr(torch, device_type, None)
    return bool(getattr(backend, "_is_in_bad_fork", lambda: False)())


# --- operators as they are dispatched -----------------------------------------------------------

try:
    from torch.utils._python_dispatch import TorchDispatchMode
except ImportError:

    class TorchDispatchMode:  # type: ignore[no-redef]
        def __init__(self) -> None:
            raise TorchPrivateError(
                "torch.utils._python_dispatch.TorchDispatchMode", "counting operators"
            )


class DispatchMode(TorchDispatchMode):
    """Its `__torch_dispatch__` is given every operator.  Seen in 2.11 to 2.13.

    Without it, making one raises TorchPrivateError: what does not count operators still works.
    """


def is_operator(function: Any) -> bool:
    """Return whether what a DispatchMode is given can be taken apart (`torch._ops.OpOverload`).

    Seen in 2.11 to 2.13.  Without the class: whether it has the method that takes it apart.
    """
    kind = getattr(getattr(torch, "_ops", None), "OpOverload", None)
    return hasattr(function, "decompose") if kind is None else isinstance(function, kind)


def sparse_addmm() -> Any | None:
    """Return `aten::_sparse_addmm`, the backward of a sparse product; None: no such name.

    Seen in 2.11 to 2.13.
    """
    return getattr(torch.ops.aten, "_sparse_addmm", None)


def makes_views(function: Any) -> tuple[bool, ...]:
    """Return, for each result of an operator, whether it shares memory with an argument.

    `OpOverload._schema`: seen in 2.11 to 2.13.  Without it the answer is () = unknown.
    """
    returned = getattr(getattr(function, "_schema", None), "returns", ())
    return tuple(one.alias_info is not None and not one.alias_info.is_write for one in returned)


# --- switches --------------------------------------------------------------------------------


def switch(library: str, name: str) -> tuple[Callable[[], bool], Callable[[bool], None]]:
    """Return the getter and setter of `torch.backends.LIBRARY.NAME`, e.g. of `cudnn` and `enabled`.

    Those of torch._C (seen in 2.11 to 2.13): `torch.backends.disable_global_flags()`, which a
    subject may call, locks the public setter.  Without them the public ones.
    """
    own: Any = getattr(torch, "_C", None)
    get = getattr(own, f"_get_{library}_{name}", None)
    put = getattr(own, f"_set_{library}_{name}", None)
    if get is not None and put is not None:
        return get, put
    public = getattr(torch.backends, library)
    return lambda: bool(getattr(public, name)), lambda value: setattr(public, name, value)


# --- what the profiler recorded --------------------------------------------------------------


def is_outside_torch(device_type: str) -> bool:
    """Return whether a device's backend is not part of torch (PrivateUse1, under its own name).

    `torch._C._get_privateuse1_backend_name`: seen in 2.11 to 2.13.  Without it False.
    """
    name = getattr(torch._C, "_get_privateuse1_backend_name", None)
    return name is not None and name() == device_type


def profiler_activity(device_type: str) -> ProfilerActivity | None:
    """Return what torch's profiler must record to see the work of a device; None: it cannot.

    torch.profiler's documentation has CPU, CUDA and XPU.  `MTIA`, `HPU` and `PrivateUse1`: seen in
    2.11 to 2.13.  Nothing tells whether the backend behind PrivateUse1 has registered a profiler
    (`REGISTER_PRIVATEUSE1_PROFILER`: seen in 2.13, missing in 2.11).
    """
    name = "PrivateUse1" if is_outside_torch(device_type) else device_type.upper()
    found: ProfilerActivity | None = getattr(ProfilerActivity, name, None)
    return found if found in supported_activities() else None


def recorded(prof: Any) -> Any | None:
    """Return everything that `torch.profiler.profile` saw, a `_ProfilerResult`; None: nothing.

    `profile.profiler.kineto_results`: seen in 2.11 to 2.13.  Without it None.
    """
    return getattr(getattr(prof, "profiler", None), "kineto_results", None)


def event_tree(results: Any) -> Sequence[Any]:
    """Return the roots of the recorded events (`_ProfilerEvent`), which know what is inside them.

    `experimental_event_tree`: seen in 2.11 to 2.13.  Raises TorchPrivateError.
    """
    try:
        return results.experimental_event_tree()  # type: ignore[no-any-return]
    except AttributeError:
        raise TorchPrivateError(
            "_ProfilerResult.experimental_event_tree", "memory over time"
        ) from None


def is_torch_operator(event: Any) -> bool:
    """Return whether an event is an operator or a range.  `tag`: seen in 2.11 to 2.13."""
    return _tag(event) == "TorchOp"


def allocation(event: Any) -> Any | None:
    """Return `ptr`, `alloc_size`, `total_allocated` and `device` of an allocation, else None.

    `tag` and `extra_fields`: seen in 2.11 to 2.13.
    """
    return event.extra_fields if _tag(event) == "Allocation" else None


def _tag(event: Any) -> str:
    try:
        return str(event.tag.name)
    except AttributeError:
        raise TorchPrivateError("_ProfilerEvent.tag", "memory over time") from None


def device_type(event: Any) -> str:
    """CPU, MKLDNN, CUDA …: where a `_KinetoEvent` happened.  Seen in 2.11 to 2.13."""
    try:
        return str(event.device_type().name)
    except AttributeError:
        raise TorchPrivateError("_KinetoEvent.device_type", "the profiler's analysis") from None


def activity(event: Any) -> str:
    """Return Kineto's name of the kind of a `_KinetoEvent`: cpu_op, cuda_runtime, kernel …

    `activity_type`: seen in 2.13, missing in 2.11.  Without it the kind is told by the side that
    it is on, by `is_user_annotation` (seen in 2.11 to 2.13), and by its name.
    """
    if hasattr(event, "activity_type"):
        return str(event.activity_type())
    name, host = str(event.name()), device_type(event) == "CPU"
    if event.is_user_annotation():
        return RANGE if host else DEVICE_RANGE
    if name in _OVERHEADS:
        return OVERHEAD
    return _on_host(name) if host else _on_device(name)


def _on_host(name: str) -> str:
    if name.startswith("["):  # [memory], [OutOfMemory]
        return MARK
    return RUNTIME if _RUNTIME_CALL.fullmatch(name) else OPERATOR


def _on_device(name: str) -> str:
    if name.startswith("Memcpy"):
        return COPY
    if name.startswith("Memset"):
        return SET
    return WAIT if _DEVICE_WAIT.fullmatch(name) else KERNEL


@contextlib.contextmanager
def memory_history(memory: Any, most_entries: int) -> Iterator[Callable[[], Any] | None]:
    """Let an allocator keep its last events with their stacks; yield a function that reads them.

    memory: `torch.cuda.memory`, or the like of another accelerator.
    `_record_memory_history`, `_snapshot`: seen in 2.11 to 2.13.  Without them None.
    """
    record = getattr(memory, "_record_memory_history", None)
    snapshot = getattr(memory, "_snapshot", None)
    if record is None or snapshot is None:
        yield None
        return
    record(enabled="all", stacks="python", max_entries=most_entries)
    try:
        yield snapshot
    finally:
        record(enabled=None)


# --- tensors and modules ---------------------------------------------------------------------


def keep_versions(tensors: Sequence[Tensor]) -> contextlib.AbstractContextManager[Any]:
    """Restore the counters of writes after the block, so that a waiting graph stays valid.

    Only for tensors that get their numbers back.  `_unsafe_preserve_version_counter`: seen in 2.11
    to 2.13.  Without it the counters rise.
    """
    keep: Any = getattr(torch.autograd, "_unsafe_preserve_version_counter", None)
    if keep is None or not tensors:
        return contextlib.nullcontext()
    kept: contextlib.AbstractContextManager[Any] = keep(tuple(tensors))
    return kept


def version(tensor: Tensor) -> int:
    """Return how often the tensor, or a view of it, was written to (`Tensor._version`).

    Seen in 2.11 to 2.13.  Raises TorchPrivateError.
    """
    try:
        return tensor._version
    except AttributeError:
        raise TorchPrivateError("Tensor._version", "finding what is written to") from None


def coo_parts(tensor: Tensor) -> tuple[Tensor, Tensor]:
    """Return the indices and values of a sparse COO tensor that need not be coalesced.

    `Tensor._indices`, `Tensor._values`: seen in 2.11 to 2.13.  Raises TorchPrivateError: the
    public ones refuse a tensor that is not coalesced, and a coalesced copy is other memory.
    """
    try:
        return tensor._indices(), tensor._values()
    except AttributeError:
        raise TorchPrivateError("Tensor._indices", "the memory of a sparse tensor") from None


def own_buffers(module: nn.Module) -> dict[str, Tensor | None]:
    """Return the buffers of this module alone, those that are None and repeated ones as well.

    `Module._buffers`: seen in 2.11 to 2.13.  Without it the public ones, which leave None out.
    """
    own = getattr(module, "_buffers", None)
    if own is not None:
        return dict(own)
    return dict(module.named_buffers(recurse=False, remove_duplicate=False))


def set_own_buffer(module: nn.Module, name: str, value: Tensor | None) -> None:
    """Put a buffer in its place past a `__setattr__` of the module's own, where torch allows."""
    _set_own(module, "_buffers", name, value)


def _set_own(module: nn.Module, among: str, name: str, value: object) -> None:
    own = getattr(module, among, None)
    if own is not None:
        own[name] = value
    else:
        setattr(module, name, value)


def jagged_parts(tensor: Any) -> list[Tensor]:
    """Return the values, offsets and lengths of a jagged tensor, those that it has.

    `NestedTensor._values` …: seen in 2.11 to 2.13.  Without them the public ones, of which
    `values()` fails for what inference_mode made.
    """
    try:
        found = [tensor._values, tensor._offsets, tensor._lengths]
    except AttributeError:
        found = [tensor.values(), tensor.offsets(), tensor.lengths()]
    return [one for one in found if one is not None]


def own_modules(module: nn.Module) -> dict[str, nn.Module | None]:
    """Return the modules right below, one that stands there twice under both names.

    `Module._modules`: seen in 2.11 to 2.13.  Without it the public ones, each once.
    """
    own = getattr(module, "_modules", None)
    return dict(own) if own is not None else dict(module.named_children())


def set_own_module(module: nn.Module, name: str, value: nn.Module) -> None:
    """Set a module as `set_own_buffer` sets a buffer."""
    _set_own(module, "_modules", name, value)


def hooks(module: nn.Module) -> list[Any]:
    """Return the functions that a call of this module alone, or its backward, calls besides.

    `Module._forward_hooks` …: seen in 2.11 to 2.13.  Those that torch no longer has are left out.
    """
    kinds = ("_forward_pre_hooks", "_forward_hooks", "_backward_pre_hooks", "_backward_hooks")
    return [hook for kind in kinds for hook in getattr(module, kind, {}).values()]


def forward_pre_hooks(module: nn.Module) -> tuple[Any, ...]:
    """Return `Module._forward_pre_hooks`: seen in 2.11 to 2.13.  Raises TorchPrivateError."""
    try:
        return tuple(module._forward_pre_hooks.values())
    except AttributeError:
        raise TorchPrivateError("Module._forward_pre_hooks", "naming what is left out") from None


def apply(module: nn.Module, change: Callable[[Tensor], Tensor]) -> None:
    """Change each parameter, gradient and buffer, as `Module.to` does (`Module._apply`).

    Seen in 2.11 to 2.13.  Raises TorchPrivateError.
    """
    try:
        module._apply(change)
    except AttributeError as error:
        if error.name != "_apply":
            raise
        raise TorchPrivateError("Module._apply", "a network of complex numbers") from None


def set_own_parameter(module: nn.Module, name: str, value: nn.Parameter | None) -> None:
    """Set a parameter as `set_own_buffer` sets a buffer."""
    _set_own(module, "_parameters", name, value)


def own_parameters(module: nn.Module) -> dict[str, nn.Parameter | None]:
    """Return the parameters of this module alone; `Module._parameters`, as `own_buffers`."""
    own = getattr(module, "_parameters", None)
    if own is not None:
        return dict(own)
    return dict(module.named_parameters(recurse=False, remove_duplicate=False))


def graph_breaks(call: Any, args: Any, kwargs: Any) -> list[tuple[str, str, int, str]]:
    """Return the reason, file, line and code of each graph break.

    It compiles the function once more, without generating code, and forgets what was compiled.
    """
    from torch import _dynamo

    found = _dynamo.explain(call)(*args, **kwargs)
    breaks = []
    for one in getattr(found, "break_reasons", ()):
        stack = getattr(one, "user_stack", None) or []
        last = stack[-1] if stack else None
        reason = str(getattr(one, "reason", "")).strip().splitlines() or [""]
        breaks.append(
            (
                reason[0],
                last.filename if last else "",
                int(last.lineno or 0) if last else 0,
                (last.line or "").strip() if last else "",
            )
        )
    return breaks


@contextlib.contextmanager
def watch_kernels(saw: Callable[[str, list[Any], bool, bool], None]) -> Iterator[None]:
    """Tell of each kernel that inductor writes or calls from a library, while the context is open.

    saw: gets the kernel's name, the nodes of the graph that it computes (`fx.Node`), and whether it
         is of the backward, and of a library.

    Kernels in C++ get a range each in a profile.  No cache is used: what comes out of one is not
    written again.  `_inductor.debug.set_kernel_post_grad_provenance_tracing`, which inductor calls
    for each kernel, `config.cpp.enable_kernel_profile` and `V.graph.is_backward`: seen in 2.11 to
    2.13.  Without them nothing is told.
    """
    from torch._inductor import config, debug
    from torch._inductor.codegen import cpp, triton
    from torch._inductor.virtualized import V

    name = "set_kernel_post_grad_provenance_tracing"
    own: Any = getattr(debug, name, None)

    def told(schedule: Any, kernel: str, is_extern: bool = False) -> Any:
        with contextlib.suppress(Exception):  # of a new torch: the compiler has to go on
            computed = [schedule] if is_extern else [getattr(one, "node", None) for one in schedule]
            nodes = [node for one in computed for node in getattr(one, "origins", ())]
            saw(kernel, nodes, bool(getattr(V.graph, "is_backward", False)), is_extern)
        return own(schedule, kernel, is_extern)

    places = [one for one in (debug, cpp, triton) if own and hasattr(one, name)]
    wanted = {"force_disable_caches": True, "cpp.enable_kernel_profile": True}
    try:
        changes = config.patch(wanted)
    except (AttributeError, KeyError):
        changes = contextlib.nullcontext()
    with changes:
        for one in places:
            setattr(one, name, told)
        try:
            yield
        finally:
            for one in places:
                setattr(one, name, own)
