"""The examples run as they stand, and a user's type checker accepts them."""

import ast
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support.paths import ROOT

EXAMPLES = ROOT / "examples"
NOTEBOOKS = sorted(EXAMPLES.glob("*.ipynb"))


def cells(notebook: Path) -> list[str]:
    """The code of a notebook, cell by cell."""
    found = json.loads(notebook.read_text(encoding="utf-8"))
    return ["".join(one["source"]) for one in found["cells"] if one["cell_type"] == "code"]


def shown(code: str, names: dict[str, Any]) -> Any:
    """Run a cell as a notebook does: its last line, if it is an expression, is its result."""
    tree = ast.parse(code)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "<cell>", "exec"), names)
    if not isinstance(last, ast.Expr):
        return None
    return eval(compile(ast.Expression(last.value), "<cell>", "eval"), names)


@pytest.mark.slow
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.name)
def test_a_notebook_runs_and_shows_tables(notebook: Path) -> None:
    names: dict[str, Any] = {"__name__": "__main__"}
    random = torch.get_rng_state()
    try:
        found = [shown(code, names) for code in cells(notebook)]
    finally:
        torch.set_rng_state(random)
    tables = [one._repr_html_() for one in found if hasattr(one, "_repr_html_")]
    assert len(tables) == 3
    assert all("<table>" in one and "in-process" in one for one in tables)
    assert all(0 < len(repr(one)) < 400 for one in found if one is not None)


def test_a_notebook_is_kept_without_its_outputs() -> None:
    assert NOTEBOOKS
    for notebook in NOTEBOOKS:
        found = json.loads(notebook.read_text(encoding="utf-8"))
        code = [one for one in found["cells"] if one["cell_type"] == "code"]
        assert [(one["outputs"], one["execution_count"]) for one in code] == [([], None)] * len(
            code
        )


@pytest.mark.slow
def test_the_script_runs_all_four_functions(tmp_path: Path) -> None:
    for name in ("models.py", "small.toml", "python_door.py"):
        (tmp_path / name).write_text((EXAMPLES / name).read_text(encoding="utf-8"))
    done = subprocess.run(
        [sys.executable, "python_door.py"],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("<Sequential, training, batch 8, cpu: ")
    assert [one.split(":")[0].strip() for one in lines[2:6]] == [
        "forward",
        "backward",
        "optimizer",
        "peak memory",
    ]
    assert "the same outputs: True" in lines
    assert any(one.startswith("<Run results/") and one.endswith(": 6 cases>") for one in lines)
    assert lines[-1] == "plots/speedup.png"
    assert (tmp_path / "plots" / "speedup.svg").exists()
    stored = json.loads((tmp_path / "results" / "latest" / "run.json").read_text())
    assert stored["command"][:3] == ["bench", "run", "models:make_net"]
    for noise in ("USDT", "Traceback", "Warning"):
        assert noise not in done.stderr


@pytest.mark.slow
def test_a_user_that_is_strict_about_types_can_use_the_door() -> None:
    command = ["--strict", "--no-incremental", "--follow-imports=silent", "python_door.py"]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file=", *command],
        cwd=EXAMPLES,
        env={"PATH": "/usr/bin:/bin", "MYPYPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.startswith("Success"), done.stdout + done.stderr


@pytest.mark.slow
def test_the_package_is_imported_without_torch() -> None:
    code = """
import sys
import bench
heavy = {"torch", "pandas", "matplotlib", "scipy", "numpy", "rich", "pydantic"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
assert {"measure", "compare", "run", "load"} <= set(dir(bench))
try:
    bench.mesure
except AttributeError as error:
    print(error)
assert callable(bench.compare)
assert not heavy & set(sys.modules)
bench.measure
assert "torch" in sys.modules
assert "pandas" not in sys.modules
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "module 'bench' has no attribute 'mesure'\n", done.stderr
