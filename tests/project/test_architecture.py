"""Who may import whom, and which part owns which library.  One line a folder."""

import ast
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

PURE = (
    "bench.core.axes",
    "bench.core.caches",
    "bench.host.interpreter",
    "bench.core.text",
    "bench.stats.intervals",
    "bench.core.records",
    "bench.start",
    "bench.core.subject",
    "bench.core.units",
)
# folder → project modules it may import
MAY_IMPORT = {
    "convnet": ("convnet",),
    "bench/worker": (
        "bench.worker",
        "bench.host.environment",
        "bench.host.probe",
        "bench.core.errors",
        *PURE,
    ),
    "bench/read": ("bench.read", "bench.results.journal", "bench.core.errors", *PURE),
    "bench/selftest": (
        "bench.selftest",
        "bench.host.allocator",
        "bench.plan.config",
        "bench.core.errors",
        "bench.host.probe",
        "bench.terminal.progress",
        "bench.stats.ratios",
        "bench.engine.session",
        *PURE,
    ),
    "bench": ("bench",),
}
# library → folders that may import it
OWNED = {
    "torch": ("bench/worker", "convnet"),
    "pynvml": ("bench/worker",),
    "pandas": ("bench/read",),
    "scipy": ("bench/read",),
    "matplotlib": ("bench/read",),
    "numpy": ("bench/read",),
    "jinja2": ("bench/read",),
    "markupsafe": ("bench/read",),
    "typer": ("bench",),
    "pydantic": ("bench",),
    "rich": ("bench", "bench/read", "bench/selftest"),
    "psutil": ("bench", "bench/worker", "bench/selftest"),
    "pytest": ("bench",),
    "pytest_benchmark": ("bench",),
}
# the pytest plugin runs in the user's process and so is the only one outside to use a worker
USES_WORKERS = ("bench.pytest_plugin",)


def _modules() -> dict[str, Path]:
    paths = [*(ROOT / "bench").rglob("*.py"), *(ROOT / "convnet").rglob("*.py")]
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
        for path in paths
    }


def _imports(path: Path) -> Iterator[tuple[str, bool]]:
    """Names imported, and whether at the top of the module."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    top = set(map(id, tree.body))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, id(node) in top) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield (full if full in MODULES else node.module, id(node) in top)


MODULES = _modules()


def _folder(path: Path) -> str:
    return path.parent.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("name", sorted(MODULES))
def test_a_module_imports_only_what_its_folder_may(name: str) -> None:
    path = MODULES[name]
    folder = _folder(path)
    for imported, _ in _imports(path):
        if imported.split(".")[0] in ("bench", "convnet"):
            allowed = MAY_IMPORT[folder]
            assert any(imported == one or imported.startswith(one + ".") for one in allowed), (
                f"{name} imports {imported}"
            )
            if folder == "bench" and imported.startswith("bench.worker"):
                assert name in USES_WORKERS, f"{name} imports {imported}"
        library = imported.split(".")[0]
        if library in OWNED and name not in USES_WORKERS:
            assert folder in OWNED[library], f"{name} imports {imported}"


def test_no_module_imports_itself_in_a_circle() -> None:
    graph = {
        name: {one for one, _ in _imports(path) if one in MODULES and one != name}
        for name, path in MODULES.items()
    }
    assert len(list(TopologicalSorter(graph).static_order())) >= len(MODULES)


def test_every_library_is_either_owned_or_part_of_python() -> None:
    known = {*OWNED, "bench", "convnet", "mpl_toolkits"} | sys.stdlib_module_names
    found = {one.split(".")[0] for path in MODULES.values() for one, _ in _imports(path)}
    assert found <= known


# What begins with an underscore and is Python's own.
OWN_PYTHON = {"_exit", "_getframe", "_make"}
# What torch has without an underscore, and no page of its documentation.
UNDOCUMENTED = {"activity_type", "experimental_event_tree", "kineto_results"}


def _private_names(tree: ast.AST) -> Iterator[str]:
    """What code takes from torch's objects and modules and torch does not promise to keep."""
    own = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id in ("self", "cls")
    }
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(attr=name):
                if name in UNDOCUMENTED or (_is_private(name) and name not in own):
                    yield name
            case ast.Import(names=aliases):
                yield from (one.name for one in aliases if _is_private_path(one.name))
            case ast.ImportFrom(module=str(module), names=aliases):
                full = [f"{module}.{one.name}" for one in aliases]
                yield from (one for one in full if _is_private_path(one))
            case ast.Call(args=[_, ast.Constant(value=str(name)), *_], func=ast.Name(id=function)):
                if function in ("getattr", "setattr", "hasattr", "delattr") and (
                    _is_private(name) or name in UNDOCUMENTED
                ):
                    yield name
            case ast.Constant(value=str(name)):  # for importlib
                if _is_private_path(name):
                    yield name


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name not in OWN_PYTHON


def _is_private_path(name: str) -> bool:
    first, *rest = name.split(".")
    path = all(one.isidentifier() for one in (first, *rest))
    return path and first == "torch" and any(_is_private(one) for one in rest)


@pytest.mark.parametrize(
    ("code", "names"),
    [
        ("torch._C._get_cudnn_enabled()", {"_C", "_get_cudnn_enabled"}),
        ("import torch._dynamo", {"torch._dynamo"}),
        ("from torch import _C", {"torch._C"}),
        ("from torch._dynamo.utils import counters", {"torch._dynamo.utils.counters"}),
        ("importlib.import_module('torch._inductor.fx')", {"torch._inductor.fx"}),
        ("getattr(torch.cuda, '_is_in_bad_fork', None)", {"_is_in_bad_fork"}),
        ("tensor._version", {"_version"}),
        ("prof.profiler.kineto_results", {"kineto_results"}),
        ("self._mine + other._mine + cls._ours + os._exit(0) + torch.__version__", set()),
        ('"""As torch._C has it."""', set()),
    ],
)
def test_what_is_private_of_torch_is_told_from_what_is_not(code: str, names: set[str]) -> None:
    assert set(_private_names(ast.parse(code))) == names


@pytest.mark.parametrize("name", sorted(MODULES))
def test_one_module_alone_uses_what_torch_does_not_promise(name: str) -> None:
    """Another torch may lack any of it: `bench.worker.device.torch_private` knows what to do then."""
    path = MODULES[name]
    if _folder(path) in OWNED["torch"] and name != "bench.worker.device.torch_private":
        assert set(_private_names(ast.parse(path.read_text(encoding="utf-8")))) == set()


def test_start_up_needs_no_heavy_library() -> None:
    """`bench --help` imports these at the top alone: typer, the axes, and nothing that measures."""
    top = {one for one, is_top in _imports(MODULES["bench.cli"]) if is_top}
    allowed = {"inspect", "os", "signal", "sys", "collections.abc", "pathlib", "typing", "typer"}
    assert top <= allowed | {"bench.core.axes"}
