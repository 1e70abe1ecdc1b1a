"""The sessions of the project: `nox -s bench` measures, `nox -s tests` tests.

Each session makes its own environment from constraints.txt.  `nox --no-venv -s bench` takes
the Python that runs nox instead, for those who have their own torch.
"""

import shutil
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

import nox

nox.options.sessions = ["lint", "types", "tests"]
nox.options.reuse_existing_virtualenvs = True
nox.options.error_on_external_run = True

CONSTRAINTS = "constraints.txt"
# What stands or falls with the names that torch does not promise to keep.
TORCH_TESTS = (
    "tests/worker/device/test_torch_private.py",
    "tests/worker/process/test_forks.py",
    "tests/worker/model/test_torch_compile.py",
    "tests/worker/device/test_device.py",
    "tests/worker/metrics/test_flops.py",
    "tests/worker/model/test_graph_breaks.py",
    "tests/worker/model/test_growth.py",
    "tests/worker/model/test_pytree.py",
    "tests/worker/model/test_loss.py",
    "tests/worker/checks/test_witness.py",
    "tests/worker/model/test_inplace.py",
    "tests/worker/model/test_layers.py",
    "tests/worker/metrics/test_peak_memory.py",
    "tests/worker/jobs/test_profile.py",
    "tests/worker/profiler/test_events.py",
    "tests/worker/profiler/test_memory_trace.py",
    "tests/worker/profiler/test_memory_history.py",
    "tests/worker/profiler/test_fused.py",
    "tests/engine/test_collect.py",
    "tests/engine/test_fork_server.py",
    "tests/worker/checks/test_state.py",
    "tests/core/test_subject.py",
    "tests/worker/model/test_build.py",
)
CODE = (
    "bench",
    "convnet",
    "convnet_bench.py",
    "tests",
    "benchmarks",
    "experiments",
    "examples",
    "tools",
    "noxfile.py",
)
# A worker for each processor; one that has nothing left to do takes tests from the others.
ALL_CORES = ("-n", "logical", "--dist", "worksteal")
PASSED, NO_TESTS = 0, 5  # pytest's exit codes; the second where nothing was selected
EXAMPLE_BASELINE = Path("results/baseline")


def python(session: nox.Session) -> str:
    """The session's own interpreter; with --no-venv the one that runs nox."""
    return "python" if session.virtualenv.is_sandboxed else sys.executable


def install(session: nox.Session, *extras: str) -> None:
    """This project, its pinned dependencies, and the extras."""
    if session.virtualenv.is_sandboxed:
        target = f".[{','.join(extras)}]" if extras else "."
        session.install("-c", CONSTRAINTS, "-e", target)


@nox.session
def bench(session: nox.Session) -> None:
    """Measure the default sweep, with plots: `nox -s bench -- --device cuda --batch 64`."""
    install(session)
    session.run(python(session), "-m", "bench", "run", *session.posargs)


@nox.session
def micro(session: nox.Session) -> None:
    """pytest-benchmark's table of the ConvNet and its layers."""
    install(session)
    session.run(python(session), "-m", "pytest", "benchmarks", *session.posargs)


@nox.session
def claims(session: nox.Session) -> None:
    """Measure what is said of the ConvNet's layers, and write docs/convnet.md."""
    install(session)
    session.run(python(session), "-m", "experiments.convnet_layers", *session.posargs)


@nox.session
def check(session: nox.Session) -> None:
    """Compare the latest run, or the one given, with results/baseline."""
    install(session)
    arguments = session.posargs or ["results/latest"]
    if not any(one.startswith("--baseline") for one in arguments):
        arguments = [*arguments, "--baseline", str(EXAMPLE_BASELINE)]
    session.run(python(session), "-m", "bench", "check", *arguments)


@nox.session
def report(session: nox.Session) -> None:
    """Make the page of results/latest, or of the runs that are named."""
    install(session)
    session.run(python(session), "-m", "bench", "report", *(session.posargs or ["results/latest"]))


@nox.session
def ab(session: nox.Session) -> None:
    """Is B slower than A, here and now?  `nox -s ab -- main .`; alone: HEAD against your work."""
    install(session)
    session.run(python(session), "-m", "bench", "ab", *sides(session.posargs))


def sides(arguments: Sequence[str]) -> list[str]:
    """With HEAD and the working tree, where none are given; sides stand before all flags."""
    resumes = any(one.startswith("--resume") for one in arguments)
    flags_alone = not arguments or arguments[0].startswith("-")
    return ["HEAD", ".", *arguments] if flags_alone and not resumes else [*arguments]


@nox.session
def history(session: nox.Session) -> None:
    """Show what became slower over the commits: `nox -s history -- runs --confirm`."""
    install(session)
    session.run(python(session), "-m", "bench", "history", *session.posargs)


@nox.session
def profile(session: nox.Session) -> None:
    """Where time and memory go: `nox -s profile -- --mode training --batch 32`."""
    install(session)
    session.run(python(session), "-m", "bench", "profile", *session.posargs)


@nox.session
def tests(session: nox.Session) -> None:
    """The quick tests, on all cores: `nox -s tests -- -k timing`."""
    install(session, "dev")
    pytest(session, *ALL_CORES, "-m", "not slow")


@nox.session(name="tests-all")
def tests_all(session: nox.Session) -> None:
    """All tests but the mutants: the quick ones, the slow ones, and one by one what measures."""
    install(session, "dev")
    # The user's own arguments (`-k timing`) may leave none of the tests of a step.
    codes = (PASSED, NO_TESTS) if session.posargs else (PASSED,)
    pytest(session, *ALL_CORES, "-m", "not slow", codes=codes)
    pytest(session, *ALL_CORES, "-m", "slow and not alone", codes=codes)
    pytest(session, "-m", "alone", codes=codes)


@nox.session
def gpu(session: nox.Session) -> None:
    """Prove on a GPU that its figures are true: twenty checks, then the tests that need one."""
    install(session, "dev")
    session.run(python(session), "-m", "experiments.gpu", *session.posargs)
    at_once = ("-p", "tests.support.failures_at_once", "-o", "console_output_style=times")
    session.run(python(session), "-m", "pytest", "-m", "gpu", "-v", "--tb=short", *at_once)


@nox.session
def mutants(session: nox.Session) -> None:
    """Break one line of the code at a time: the tests have to turn red."""
    install(session, "dev")
    pytest(session, *ALL_CORES, "tests/mutants")


def pytest(session: nox.Session, *arguments: str, codes: Sequence[int] = (PASSED,)) -> None:
    """Run those tests; what the user gives comes last and so counts."""
    command = (python(session), "-m", "pytest", *arguments, *session.posargs)
    session.run(*command, success_codes=codes)


@nox.session
def oldest_torch(session: nox.Session) -> None:
    """What depends on torch's private names, with the oldest torch that pyproject.toml allows.

    `nox -s oldest_torch -- torch==2.14.*` takes another one, all else as pinned.
    """
    wanted = [one for one in session.posargs if one.startswith("torch")]
    others = [one for one in session.posargs if one not in wanted]
    if session.virtualenv.is_sandboxed:
        pinned = Path(session.create_tmp()) / CONSTRAINTS
        pinned.write_text(without("torch", Path(CONSTRAINTS).read_text(encoding="utf-8")))
        session.install("-c", str(pinned), "-e", ".[dev]", *(wanted or [oldest("torch")]))
    session.run(python(session), "-m", "pytest", *(others or TORCH_TESTS))


def oldest(package: str, project: Path = Path("pyproject.toml")) -> str:
    """The oldest release series that the project allows: torch>=2.11 → torch==2.11.*."""
    dependencies = tomllib.loads(project.read_text(encoding="utf-8"))["project"]["dependencies"]
    (bound,) = (one for one in dependencies if one.startswith(f"{package}>="))
    return f"{bound.replace('>=', '==')}.*"


def without(package: str, constraints: str) -> str:
    """The constraints that leave one package open."""
    kept = [line for line in constraints.splitlines() if not line.startswith(f"{package}==")]
    return "\n".join(kept) + "\n"


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation in build/site; `nox -s docs -- serve` shows it while you write."""
    install(session, "docs")
    command = session.posargs or ["build"]
    example = Path("build/example.html")
    example.unlink(missing_ok=True)
    session.run(
        python(session), "-m", "bench", "report", "results/example", "--out", str(example),
        silent=True,
    )  # fmt: skip
    session.run(python(session), "-m", "mkdocs", *command, env={"NO_MKDOCS_2_WARNING": "1"})


@nox.session
def tutorials(session: nox.Session) -> None:
    """Run the commands of the tutorials, and put their output into the pages."""
    install(session)
    pages = session.posargs or sorted(map(str, Path("docs/tutorials").glob("*.md")))
    session.run(python(session), "-m", "tools.tutorials", *pages)


@nox.session
def build(session: nox.Session) -> None:
    """Build sdist and wheel, check them, and use the wheel in an environment of its own."""
    if session.virtualenv.is_sandboxed:
        session.install("-c", CONSTRAINTS, "build", "twine", "check-wheel-contents")
    out = Path("build/dist")
    shutil.rmtree(out, ignore_errors=True)
    session.run(python(session), "-m", "build", "--outdir", str(out))
    made = sorted(map(str, out.iterdir()))
    session.run(python(session), "-m", "twine", "check", "--strict", *made)
    wheel = next(one for one in made if one.endswith(".whl"))
    session.run("check-wheel-contents", wheel)
    session.run(python(session), "-m", "tools.try_wheel", wheel)


@nox.session
def lint(session: nox.Session) -> None:
    """ruff, as linter and formatter, and typos."""
    if session.virtualenv.is_sandboxed:
        session.install("-c", CONSTRAINTS, "ruff", "typos")
    session.run(python(session), "-m", "ruff", "check", *CODE)
    session.run(python(session), "-m", "ruff", "format", "--check", *CODE)
    session.run("typos", external=not session.virtualenv.is_sandboxed)


@nox.session
def types(session: nox.Session) -> None:
    """mypy, strict."""
    install(session, "dev")
    session.run(python(session), "-m", "mypy")
