"""The private names of torch: this torch has each of them, and without it there is a way or a word.

These are the tests to run with another torch: `nox -s oldest_torch`.
"""

import importlib
import importlib.util
import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile, record_function

from bench.worker.device import torch_private
from bench.worker.device.torch_private import TorchPrivateError


@pytest.fixture(scope="module")
def prof() -> Any:
    """A profile of a range, an operator inside it, and its memory."""
    activities = [ProfilerActivity.CPU]
    with profile(activities=activities, profile_memory=True) as found, record_function("mine"):
        torch.ones(64, 64).add(1)
    return found


def anew(monkeypatch: pytest.MonkeyPatch, missing: str) -> ModuleType:
    """A second copy of the module, in a Python in which a module of torch cannot be imported."""
    monkeypatch.setitem(sys.modules, missing, None)
    spec = importlib.util.find_spec("bench.worker.device.torch_private")
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


def test_the_error_names_what_is_missing_what_for_and_what_to_do() -> None:
    assert str(TorchPrivateError("torch._x.y", "a compiled case")) == (
        f"torch {torch.__version__} has no torch._x.y, which a compiled case needs; "
        "install a torch that this suite was tested with (2.11 and 2.13)"
    )


# --- imports ---------------------------------------------------------------------------------


def test_dynamo_and_inductor_can_be_imported_beforehand() -> None:
    torch_private.import_dynamo()
    torch_private.import_inductor()
    assert {torch_private.DYNAMO, torch_private.INDUCTOR} <= sys.modules.keys()


def test_a_torch_without_dynamo_and_inductor_is_used_without_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in (torch_private.DYNAMO, torch_private.INDUCTOR):
        monkeypatch.setitem(sys.modules, name, None)
    torch_private.import_dynamo()
    torch_private.import_inductor()
    assert sys.modules[torch_private.INDUCTOR] is None


@pytest.mark.slow
@pytest.mark.parametrize("before", [None, "/some/cache"])
def test_vector_instructions_are_checked_once_for_all_children(
    before: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = importlib.import_module(torch_private.VECTORS)
    monkeypatch.delenv(torch_private.CACHE_DIR, raising=False)
    if before is not None:
        monkeypatch.setenv(torch_private.CACHE_DIR, before)
    folder = tmp_path / "vectors"
    for _ in range(2):  # the second one finds the compiled test
        module.valid_vec_isa_list.cache_clear()
        module.VecISA._VecISA__bool__impl.cache_clear()
        torch_private.check_vector_instructions(folder)
        assert module.valid_vec_isa_list.cache_info().currsize == 1
        assert [one.name for one in tmp_path.iterdir()] == ["vectors"]
    assert os.environ.get(torch_private.CACHE_DIR) == before


def test_a_torch_that_cannot_check_vector_instructions_leaves_it_to_its_cases(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def no_compiler() -> None:
        raise RuntimeError("no C++ compiler")

    module = importlib.import_module(torch_private.VECTORS)
    monkeypatch.setattr(module, "pick_vec_isa", no_compiler)
    torch_private.check_vector_instructions(tmp_path / "vectors")
    monkeypatch.setitem(sys.modules, torch_private.VECTORS, None)
    torch_private.check_vector_instructions(tmp_path / "vectors")
    assert list(tmp_path.iterdir()) == []


def test_a_check_that_found_none_is_made_again_by_each_case(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    module = importlib.import_module(torch_private.VECTORS)
    flags = "avx512_vnni amx_tile avx512 avx2"
    monkeypatch.setattr(module, "x86_isa_checker", flags.split)
    torch_private._forget_vector_check(module)
    with monkeypatch.context() as failing:
        failing.setattr(module.VecISA, "check_build", lambda *_: False)
        torch_private.check_vector_instructions(tmp_path / "vectors")
    assert module.valid_vec_isa_list.cache_info().currsize == 0
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(module.VecISA, "check_build", lambda *_: True)
    kinds = {type(one).__name__ for one in module.valid_vec_isa_list()}
    assert {"VecAVX512", "VecAVX2"} <= kinds
    torch_private._forget_vector_check(module)


def test_dynamo_counts_what_it_did() -> None:
    counters = torch_private.dynamo_counters()
    assert counters["no such kind"]["no such count"] == 0
    before = counters["stats"]["unique_graphs"]
    torch.compile(lambda x: x + 1, backend="eager")(torch.ones(1))
    assert counters["stats"]["unique_graphs"] == before + 1


def test_without_dynamos_counters_nothing_passes_for_compiled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    utils = importlib.import_module("torch._dynamo.utils")
    monkeypatch.delattr(utils, "counters")
    with pytest.raises(TorchPrivateError, match=r"torch\._dynamo\.utils\.counters, which a comp"):
        torch_private.dynamo_counters()


# --- forks -----------------------------------------------------------------------------------


def test_torch_tells_whether_a_fork_is_bad() -> None:
    assert callable(torch.cuda._is_in_bad_fork)
    assert callable(torch.xpu._is_in_bad_fork)
    assert torch_private.in_bad_fork("cuda") is False  # of this process, which is none


@pytest.mark.parametrize(("said", "is_bad"), [(True, True), (False, False)])
def test_what_torch_says_of_a_fork_holds(
    monkeypatch: pytest.MonkeyPatch, said: bool, is_bad: bool
) -> None:
    monkeypatch.setattr(torch.cuda, "_is_in_bad_fork", lambda: said)
    assert torch_private.in_bad_fork("cuda") is is_bad


def test_a_fork_of_which_torch_tells_nothing_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.cuda, "_is_in_bad_fork")
    assert torch_private.in_bad_fork("cuda") is False
    assert torch_private.in_bad_fork("no_such_device") is False


# --- operators -------------------------------------------------------------------------------


def test_a_dispatch_mode_sees_operators() -> None:
    seen: list[tuple[str, bool]] = []

    class Sees(torch_private.DispatchMode):
        def __torch_dispatch__(self, func: Any, _: Any, args: Any = (), kwargs: Any = None) -> Any:
            seen.append((str(func.name()), torch_private.is_operator(func)))
            return func(*args, **(kwargs or {}))

    with Sees():  # type: ignore[no-untyped-call]
        torch.ones(1).neg()
    assert ("aten::neg", True) in seen


def test_without_a_dispatch_mode_only_counting_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    old = anew(monkeypatch, "torch.utils._python_dispatch")
    with pytest.raises(RuntimeError, match="TorchDispatchMode, which counting operators needs"):
        old.DispatchMode()


@pytest.mark.parametrize("has_class", [True, False])
def test_an_operator_is_told_from_other_functions(
    monkeypatch: pytest.MonkeyPatch, has_class: bool
) -> None:
    if not has_class:
        monkeypatch.delattr(torch._ops, "OpOverload")
    assert torch_private.is_operator(torch.ops.aten.neg.default)
    assert not torch_private.is_operator(torch.neg)


# --- switches --------------------------------------------------------------------------------

SWITCHES = [("mkldnn", "enabled"), ("cudnn", "enabled"), ("cudnn", "deterministic")]


@pytest.mark.parametrize(("library", "name"), SWITCHES)
@pytest.mark.parametrize("private", [True, False])
def test_a_switch_reads_and_turns_what_torch_shows(
    monkeypatch: pytest.MonkeyPatch, library: str, name: str, private: bool
) -> None:
    public = getattr(torch.backends, library)
    own = f"_set_{library}_{name}"
    assert hasattr(torch._C, own)
    if not private:
        monkeypatch.delattr(torch._C, own)
    get, put = torch_private.switch(library, name)
    before = get()
    try:
        put(not before)
        assert get() is not before
        assert getattr(public, name) is not before
    finally:
        put(before)
    assert getattr(public, name) is before


def test_a_switch_can_be_turned_where_the_public_one_is_locked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    flags = torch.backends.disable_global_flags.__globals__  # it has no opposite
    monkeypatch.setitem(flags, "__allow_nonbracketed_mutation_flag", False)
    with pytest.raises(RuntimeError, match="not allowed to set"):
        torch.backends.mkldnn.enabled = False  # type: ignore[assignment]
    get, put = torch_private.switch("mkldnn", "enabled")
    put(False)
    turned = get()
    put(True)
    assert turned is False


# --- what the profiler recorded --------------------------------------------------------------


def of_this_torch(prof: Any) -> Iterable[Any]:
    results = torch_private.recorded(prof)
    assert results is not None
    return list(results.events())


def test_the_profilers_events_have_a_kind_and_a_device(prof: Any) -> None:
    kinds = {one.name(): torch_private.activity(one) for one in of_this_torch(prof)}
    assert kinds["mine"] == "user_annotation"
    assert kinds["aten::add"] == "cpu_op"
    assert kinds["[memory]"] == "cpu_instant_event"
    assert {torch_private.device_type(one) for one in of_this_torch(prof)} == {"CPU"}


def test_without_kinds_those_that_are_told_by_name_are_the_same(prof: Any) -> None:
    for one in of_this_torch(prof):
        old = OldEvent(one.name(), one.device_type().name, one.is_user_annotation())
        assert torch_private.activity(old) == torch_private.activity(one)


@pytest.mark.parametrize("given", [None, SimpleNamespace(), SimpleNamespace(profiler=None)])
def test_a_profiler_without_results_has_recorded_nothing(given: Any) -> None:
    assert torch_private.recorded(given) is None


def test_the_tree_of_events_has_operators_and_allocations(prof: Any) -> None:
    todo = list(torch_private.event_tree(torch_private.recorded(prof)))
    operators, allocated = [], []
    while todo:
        event = todo.pop()
        todo.extend(event.children)
        if torch_private.is_torch_operator(event):
            operators.append(event.name)
        found = torch_private.allocation(event)
        if found is not None and found.alloc_size > 0:
            assert found.device == torch.device("cpu")
            assert found.ptr
            allocated.append(found.alloc_size)
    assert {"mine", "aten::add"} <= set(operators)
    assert allocated.count(64 * 64 * 4) == 2  # the ones and the sum


def test_without_the_tree_or_its_tags_the_error_says_so() -> None:
    with pytest.raises(TorchPrivateError, match="experimental_event_tree, which memory over time"):
        torch_private.event_tree(SimpleNamespace())
    for read in (torch_private.is_torch_operator, torch_private.allocation):
        with pytest.raises(TorchPrivateError, match=r"_ProfilerEvent\.tag"):
            read(SimpleNamespace(extra_fields=None))
    with pytest.raises(TorchPrivateError, match=r"_KinetoEvent\.device_type"):
        torch_private.device_type(SimpleNamespace())


@dataclass(frozen=True)
class OldEvent:
    """A `_KinetoEvent` as torch 2.11 has it: it does not tell its kind."""

    shown: str
    device: str = "CPU"
    is_range: bool = False

    def name(self) -> str:
        return self.shown

    def device_type(self) -> Any:
        return SimpleNamespace(name=self.device)

    def is_user_annotation(self) -> bool:
        return self.is_range


@pytest.mark.parametrize(
    ("event", "kind"),
    [
        (OldEvent("aten::cudnn_convolution"), "cpu_op"),
        (OldEvent("autograd::engine::evaluate_function: AddmmBackward0"), "cpu_op"),
        (OldEvent("CudnnConvolutionBackward0"), "cpu_op"),
        (OldEvent("detach"), "cpu_op"),
        (OldEvent("Torch-Compiled Region: 0/0"), "cpu_op"),
        (OldEvent("triton_poi_fused_relu_0"), "cpu_op"),
        (OldEvent("cumsum"), "cpu_op"),
        (OldEvent("[memory]"), "cpu_instant_event"),
        (OldEvent("[OutOfMemory]"), "cpu_instant_event"),
        (OldEvent("cudaLaunchKernel"), "cuda_runtime"),
        (OldEvent("cudaLaunchKernelExC"), "cuda_runtime"),
        (OldEvent("cuLaunchKernelEx"), "cuda_runtime"),
        (OldEvent("cudaStreamSynchronize"), "cuda_runtime"),
        (OldEvent("hipMemcpyWithStream"), "cuda_runtime"),
        (OldEvent("urEnqueueKernelLaunch"), "cuda_runtime"),
        (OldEvent("zeEventHostSynchronize"), "cuda_runtime"),
        (OldEvent("cudaLaunchKernel", is_range=True), "user_annotation"),
        (OldEvent("Activity Buffer Request"), "overhead"),
        (OldEvent("Activity Buffer Request", "CUDA"), "overhead"),
        (OldEvent("layer conv1", "CUDA", is_range=True), "gpu_user_annotation"),
        (OldEvent("Memcpy HtoD (Pageable -> Device)", "CUDA"), "gpu_memcpy"),
        (OldEvent("Memset (Device)", "CUDA"), "gpu_memset"),
        (OldEvent("Event Sync", "CUDA"), "cuda_sync"),
        (OldEvent("Stream Wait Event", "CUDA"), "cuda_sync"),
        (OldEvent("void at::native::elementwise_kernel<128, 2>(int)", "CUDA"), "kernel"),
        (OldEvent("sm80_xmma_gemm_f32f32", "CUDA"), "kernel"),
        (OldEvent("cudaLikeKernel", "CUDA"), "kernel"),
    ],
)
def test_an_event_that_does_not_tell_its_kind_is_told_by_its_name(
    event: OldEvent, kind: str
) -> None:
    assert torch_private.activity(event) == kind


# --- tensors and modules ---------------------------------------------------------------------


def test_a_tensor_counts_what_is_written_to_it_and_to_its_views() -> None:
    tensor = torch.zeros(2)
    before = torch_private.version(tensor)
    tensor[0].add_(1)
    assert torch_private.version(tensor) == before + 1


def test_a_sparse_tensor_has_parts_before_it_is_coalesced() -> None:
    tensor = torch.sparse_coo_tensor(
        torch.tensor([[1, 1]]), torch.ones(2), (3,), check_invariants=True
    )
    assert not tensor.is_coalesced()
    indices, values = torch_private.coo_parts(tensor)
    assert indices.tolist() == [[1, 1]]
    assert values.tolist() == [1, 1]


@pytest.mark.parametrize(
    ("read", "name"),
    [(torch_private.version, r"Tensor\._version"), (torch_private.coo_parts, r"Tensor\._indices")],
)
def test_without_a_tensors_private_names_the_error_says_so(read: Any, name: str) -> None:
    with pytest.raises(TorchPrivateError, match=name):
        read(SimpleNamespace())


def module_with_buffers() -> nn.Module:
    module = nn.BatchNorm1d(2)
    module.register_buffer("none", None)
    module.register_buffer("again", module.running_mean)
    return module


def test_the_buffers_and_parameters_of_a_module_alone_are_found() -> None:
    module = module_with_buffers()
    nested = nn.Sequential(module)
    buffers = torch_private.own_buffers(module)
    assert list(buffers) == ["running_mean", "running_var", "num_batches_tracked", "none", "again"]
    assert list(torch_private.own_parameters(module)) == ["weight", "bias"]
    assert torch_private.own_buffers(nested) == torch_private.own_parameters(nested) == {}


def test_without_the_private_dictionaries_the_public_ones_leave_out_what_is_none() -> None:
    module = module_with_buffers()
    public = SimpleNamespace(
        named_buffers=module.named_buffers, named_parameters=module.named_parameters
    )
    buffers = torch_private.own_buffers(public)  # type: ignore[arg-type]
    assert list(buffers) == ["running_mean", "running_var", "num_batches_tracked", "again"]
    parameters = torch_private.own_parameters(public)  # type: ignore[arg-type]
    assert list(parameters) == ["weight", "bias"]
    mean = torch.ones(2)
    torch_private.set_own_buffer(public, "running_mean", mean)  # type: ignore[arg-type]
    assert public.running_mean is mean


def test_a_buffer_is_put_back_past_a_modules_own_setter() -> None:
    class Refuses(nn.BatchNorm1d):
        def __setattr__(self, name: str, value: Any) -> None:
            if name == "running_mean" and "running_mean" in self._buffers:
                raise TypeError("not to be set")
            super().__setattr__(name, value)

    module, mean = Refuses(2), torch.ones(2)
    torch_private.set_own_buffer(module, "running_mean", mean)
    assert module.running_mean is mean


def test_a_parameter_is_put_back_past_a_modules_own_setter() -> None:
    class Refuses(nn.Linear):
        def __setattr__(self, name: str, value: Any) -> None:
            if name == "bias" and "bias" in self.__dict__.get("_parameters", {}):
                raise AttributeError(name)
            super().__setattr__(name, value)

    module = Refuses(2, 2)
    torch_private.set_own_parameter(module, "bias", None)
    assert torch_private.own_parameters(module)["bias"] is None


def test_the_profiler_is_asked_for_what_it_can_see_of_a_device(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert torch_private.profiler_activity("cpu") is ProfilerActivity.CPU
    assert torch_private.profiler_activity("mps") is None
    everything = set(ProfilerActivity.__members__.values())
    monkeypatch.setattr(torch_private, "supported_activities", lambda: everything)
    assert torch_private.profiler_activity("cuda") is ProfilerActivity.CUDA
    assert torch_private.profiler_activity("mtia") is ProfilerActivity.MTIA
    monkeypatch.setattr(torch._C, "_get_privateuse1_backend_name", lambda: "mine")
    assert torch_private.profiler_activity("mine") is ProfilerActivity.PrivateUse1
    assert torch_private.profiler_activity("other") is None
    monkeypatch.setattr(torch_private, "supported_activities", lambda: {ProfilerActivity.CPU})
    assert torch_private.profiler_activity("mine") is None
    assert torch_private.profiler_activity("cuda") is None


def test_without_the_name_of_the_backend_outside_torch_none_is_outside(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert torch_private.is_outside_torch("privateuseone")
    monkeypatch.delattr(torch._C, "_get_privateuse1_backend_name")
    assert not torch_private.is_outside_torch("privateuseone")


def test_an_operator_tells_which_of_its_results_are_views() -> None:
    aten = torch.ops.aten
    assert torch_private.makes_views(aten.view.default) == (True,)
    assert torch_private.makes_views(aten.add.Tensor) == (False,)
    assert torch_private.makes_views(aten.add_.Tensor) == (False,)
    assert torch_private.makes_views(SimpleNamespace()) == ()


def test_the_sparse_product_with_an_addend_has_its_name() -> None:
    assert torch_private.sparse_addmm() is not None


def test_a_compiled_module_tells_what_it_was_made_from_and_is_taken_back() -> None:
    module = nn.Linear(2, 2)
    assert torch_private.compiled_from(torch.compile(module)) is module
    assert torch_private.compiled_from(module) is None
    assert not torch_private.uncompile(module)
    module.compile()
    assert torch_private.uncompile(module)
    assert not torch_private.uncompile(module)


def test_what_dynamo_counted_is_nothing_before_it_is_imported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(sys.modules, "torch._dynamo.utils", raising=False)
    assert torch_private.counters_so_far() == {}
    monkeypatch.setitem(sys.modules, "torch._dynamo.utils", SimpleNamespace(counters={"a": {}}))
    assert torch_private.counters_so_far() == {"a": {}}


def test_a_jagged_tensor_has_its_parts_with_and_without_the_private_names() -> None:
    made = torch.nested.nested_tensor([torch.ones(2, 3), torch.zeros(1, 3)], layout=torch.jagged)
    values, offsets, *_ = torch_private.jagged_parts(made)
    assert values.shape == (3, 3)
    assert offsets.tolist() == [0, 2, 3]
    other = SimpleNamespace(values=lambda: values, offsets=lambda: offsets, lengths=lambda: None)
    assert [id(one) for one in torch_private.jagged_parts(other)] == [id(values), id(offsets)]


def test_modules_right_below_are_found_under_each_of_their_names() -> None:
    whole, part = nn.Module(), nn.ReLU()
    whole.one, whole.two = part, part
    whole.register_module("none", None)
    assert torch_private.own_modules(whole) == {"one": part, "two": part, "none": None}
    other = nn.Identity()
    torch_private.set_own_module(whole, "two", other)
    assert torch_private.own_modules(whole)["two"] is other


def test_the_hooks_before_a_forward_are_found() -> None:
    module = nn.ReLU()
    assert torch_private.forward_pre_hooks(module) == ()

    def hook(*_: object) -> None:
        """Changes nothing."""

    module.register_forward_pre_hook(hook)
    assert torch_private.forward_pre_hooks(module) == (hook,)


def test_each_number_of_a_module_is_changed() -> None:
    module = nn.BatchNorm1d(2)
    torch_private.apply(module, lambda tensor: tensor.double() if tensor.ndim else tensor)
    assert module.weight.dtype is torch.float64
    assert module.running_mean is not None
    assert module.running_mean.dtype is torch.float64


@pytest.mark.parametrize(
    ("use", "name"),
    [
        (torch_private.forward_pre_hooks, "Module._forward_pre_hooks"),
        (lambda module: torch_private.apply(module, lambda tensor: tensor), "Module._apply"),
    ],
)
def test_without_a_modules_private_names_the_error_names_them(use: Any, name: str) -> None:
    with pytest.raises(TorchPrivateError, match=name):
        use(SimpleNamespace())


# --- CUDA graphs ------------------------------------------------------------------------------


@pytest.fixture
def trees(monkeypatch: pytest.MonkeyPatch) -> dict[int, Any]:
    """This torch's own trees of CUDA graphs, with containers that are made up; none recorded."""
    module: Any = importlib.import_module(torch_private.GRAPH_TREES)
    containers: dict[int, Any] = {}
    monkeypatch.setattr(module.local, "tree_manager_containers", containers)
    monkeypatch.setattr(torch_private, "counters_so_far", lambda: {"inductor": {}})
    return containers


def test_a_cuda_graph_is_recorded_once_a_tree_has_a_root(trees: dict[int, Any]) -> None:
    assert torch_private.cuda_graph_recorded() is False
    trees[0] = SimpleNamespace(tree_manager=None)
    trees[1] = SimpleNamespace(tree_manager=SimpleNamespace(roots={7: []}))
    assert torch_private.cuda_graph_recorded() is False
    trees[1].tree_manager.roots[7].append("a graph")
    assert torch_private.cuda_graph_recorded() is True


@pytest.mark.usefixtures("trees")
def test_a_cuda_graph_whose_inputs_are_all_static_is_recorded_too(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    counted = {"inductor": {torch_private.RECORDED: 0}}
    monkeypatch.setattr(torch_private, "counters_so_far", lambda: counted)
    assert torch_private.cuda_graph_recorded() is True


def test_this_torch_counts_a_recorded_graph_and_keeps_its_root(trees: dict[int, Any]) -> None:
    source = Path(str(sys.modules[torch_private.GRAPH_TREES].__file__)).read_text()
    assert f'counters["inductor"]["{torch_private.RECORDED}"] +=' in source
    assert "self.roots[function_id].append(node)" in source
    assert trees == {}


def test_before_the_trees_are_imported_no_graph_is_recorded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch_private, "counters_so_far", dict)
    monkeypatch.delitem(sys.modules, torch_private.GRAPH_TREES, raising=False)
    assert torch_private.cuda_graph_recorded() is False
    monkeypatch.setattr(torch_private, "GRAPH_TREES", "torch._inductor.no_such_module")
    assert torch_private.cuda_graph_recorded() is None


def test_a_torch_that_does_not_tell_of_its_graphs_leaves_them_unknown(
    trees: dict[int, Any],
) -> None:
    trees[0] = SimpleNamespace(tree_manager=SimpleNamespace())
    assert torch_private.cuda_graph_recorded() is None
