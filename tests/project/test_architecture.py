"""The packages that may import each other, and the owners of the libraries."""

import ast
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from tests.support.paths import ROOT

# package → packages of `bench` that it may import; `bench` itself: the modules at the top.
MAY_IMPORT: dict[str, tuple[str, ...]] = {
    "start": (),
    "core": (),
    "stats": ("core",),
    "host": ("start", "core"),
    "plan": ("start", "core", "host"),
    "results": ("core", "stats"),
    "engine": ("core", "stats", "host", "plan", "results"),
    "shards": ("core", "host", "results"),
    "fleet": ("core", "stats", "host", "results", "engine", "shards"),
    "compare": ("core", "stats", "results"),
    "verdict": ("core", "stats", "results", "compare"),
    "history": ("core", "stats", "host", "results", "compare", "verdict"),
    "insights": ("core", "stats", "host", "results", "compare"),
    "explain": ("core", "stats", "results", "verdict"),
    "plots": ("core", "stats", "results", "compare", "verdict", "insights"),
    "html": (
        "core",
        "stats",
        "host",
        "results",
        "compare",
        "verdict",
        "history",
        "insights",
        "explain",
        "plots",
    ),
    "terminal": ("core", "stats", "plan", "results", "compare", "verdict", "history", "insights"),
    "ab": (
        "core",
        "stats",
        "host",
        "plan",
        "results",
        "engine",
        "compare",
        "verdict",
        "explain",
        "plots",
    ),
    "bisect": ("core", "stats", "host", "plan", "results", "engine", "verdict", "ab"),
    "tune": (
        "core",
        "stats",
        "host",
        "plan",
        "results",
        "engine",
        "compare",
        "verdict",
        "plots",
        "html",
        "ab",
    ),
    "worker.timing": ("core",),
    "worker.device": ("core", "worker.timing"),
    "worker.counting": ("core", "host", "worker.timing", "worker.device"),
    "worker.process": ("core", "host", "worker.timing", "worker.device"),
    "worker.model": ("start", "core", "worker.device"),
    "worker.checks": ("core", "worker.timing", "worker.device", "worker.model"),
    "worker.metrics": ("core", "worker.timing", "worker.device", "worker.model"),
    "worker.profiler": ("core", "worker.device", "worker.model", "worker.metrics"),
    "worker.jobs": (
        "start",
        "core",
        "host",
        "worker.timing",
        "worker.device",
        "worker.process",
        "worker.model",
        "worker.checks",
        "worker.metrics",
        "worker.profiler",
    ),
    "worker.selftest": ("core", "host", "worker.timing", "worker.device"),
    "worker": (
        "start",
        "core",
        "host",
        "worker.timing",
        "worker.counting",
        "worker.device",
        "worker.process",
        "worker.model",
        "worker.checks",
        "worker.jobs",
    ),
    "selftest": ("core", "host", "plan", "results", "engine", "terminal"),
    "commands": (
        "start",
        "core",
        "stats",
        "host",
        "plan",
        "results",
        "engine",
        "shards",
        "fleet",
        "compare",
        "verdict",
        "history",
        "plots",
        "html",
        "terminal",
        "explain",
        "ab",
        "bisect",
        "tune",
    ),
    "flags": ("core",),
    "cli": ("flags", "host", "plan", "ab", "bisect", "commands", "selftest", "core"),
    "fixtures": (
        "core",
        "stats",
        "host",
        "verdict",
        "api",
        "worker.timing",
        "worker.device",
        "worker.model",
        "worker.checks",
        "worker.metrics",
        "worker.jobs",
    ),
    "pytest_plugin": (
        "start",
        "core",
        "plan",
        "fixtures",
        "worker.timing",
        "worker.device",
        "worker.model",
        "worker.checks",
        "worker.jobs",
    ),
    "api": (
        "core",
        "stats",
        "plan",
        "results",
        "compare",
        "insights",
        "plots",
        "terminal",
        "commands",
        "tune",
        "worker.timing",
        "worker.device",
        "worker.model",
        "worker.checks",
        "worker.metrics",
        "worker.jobs",
    ),
    "__main__": ("start", "core", "terminal", "cli"),
}
# library → packages that may import it
READING = ("stats", "results", "compare", "verdict", "insights", "plots", "html", "terminal", "api")
OWNED = {
    "torch": ("worker", "convnet", "pytest_plugin", "api"),
    "pynvml": ("host", "worker.device"),
    "pandas": READING,
    "scipy": ("stats", "verdict"),
    "numpy": ("stats", "verdict", "plots", "bisect"),
    "matplotlib": ("plots", "html", "api"),
    "jinja2": ("html",),
    "markupsafe": ("html",),
    "typer": ("flags", "cli", "__main__"),
    "pydantic": ("core", "plan", "results"),
    "ray": ("fleet",),
    "rich": ("terminal", "verdict", "commands", "selftest", "ab"),
    "psutil": ("host", "worker", "selftest"),
    "pytest": ("pytest_plugin", "fixtures"),
    "pytest_benchmark": ("pytest_plugin",),
}


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


def _package(name: str) -> str:
    """`bench.worker.model.step` → `worker.model`; a module at the top is its own."""
    parts = name.split(".")
    if parts[0] == "convnet":
        return "convnet"
    return ".".join(parts[1:-1] if len(parts) > 2 else parts[1:])


def _inside(package: str, folders: tuple[str, ...]) -> bool:
    return any(package == one or package.startswith(one + ".") for one in folders)


@pytest.mark.parametrize("name", sorted(MODULES))
def test_a_module_imports_only_what_its_package_may(name: str) -> None:
    if MODULES[name].name == "__init__.py":
        return
    package = _package(name)
    for imported, _ in _imports(MODULES[name]):
        library = imported.split(".")[0]
        if library == "convnet":
            assert package == "convnet", f"{name} imports {imported}"
        elif imported in MODULES and MODULES[imported].name != "__init__.py":
            of = _package(imported)
            assert of == package or of in MAY_IMPORT[package], f"{name} imports {imported}"
        elif library in OWNED:
            assert _inside(package, OWNED[library]), f"{name} imports {imported}"


def test_the_packages_depend_on_each_other_in_one_direction() -> None:
    order = list(TopologicalSorter(MAY_IMPORT).static_order())
    assert set(order) == set(MAY_IMPORT)


def _heights(picture: str) -> dict[str, int]:
    """By package: the number of its line, counted from below."""
    lines = [line.strip().split("   ")[0].split(" · ") for line in picture.splitlines()]
    return {one: row for row, line in enumerate(reversed(lines)) for one in line}


def test_the_picture_in_contributing_has_every_package_above_those_it_imports() -> None:
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    halves = page.partition("## The packages")[2].split("```")[1].split("in processes of")
    shown = [_heights(half) for half in halves]
    for heights in shown:
        for package in heights.keys() & MAY_IMPORT.keys():
            below = [heights[one] for one in MAY_IMPORT[package] if one in heights]
            assert max(below, default=-1) < heights[package], package
    assert MAY_IMPORT.keys() <= shown[0].keys() | shown[1].keys()


def test_every_package_says_what_it_holds_and_has_its_line_here() -> None:
    for name, path in MODULES.items():
        if path.name == "__init__.py" and name.startswith("bench."):
            assert name.removeprefix("bench.") in MAY_IMPORT
            assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))


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
    """Yield the names that code takes from torch and that torch does not promise to keep."""
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
    """Another torch may lack any of it; `torch_private` knows what to do then."""
    path = MODULES[name]
    if _inside(_package(name), OWNED["torch"]) and name != "bench.worker.device.torch_private":
        assert set(_private_names(ast.parse(path.read_text(encoding="utf-8")))) == set()


def test_start_up_needs_no_heavy_library() -> None:
    """`bench --help` imports these at the top alone: typer, the axes, and nothing that measures."""
    both = (MODULES["bench.cli"], MODULES["bench.flags"])
    top = {one for path in both for one, is_top in _imports(path) if is_top}
    allowed = {"inspect", "os", "signal", "sys", "time", "collections.abc", "pathlib", "typing"}
    assert top <= allowed | {"typer", "bench.core.axes", "bench.core.exit_codes", "bench.flags"}


def test_no_worker_needs_pydantic() -> None:
    """It may run in an interpreter that has none, and starts for every case."""
    reached, left = set[str](), [name for name in MODULES if name.startswith("bench.worker.")]
    while left:
        name = left.pop()
        if name in MODULES and name not in reached:
            reached.add(name)
            left += [one for one, _ in _imports(MODULES[name])]
    assert "bench.core.protocol" in reached
    assert [one for one in reached if "pydantic" in dict(_imports(MODULES[one]))] == []
