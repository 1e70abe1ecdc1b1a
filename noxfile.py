"""The sessions of the project: `nox -s bench` measures, `nox -s tests` tests.

Each session makes its own environment from constraints.txt.  `nox --no-venv -s bench` takes
the Python that runs nox instead, for those who have their own torch.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import nox

nox.options.sessions = ["lint", "types", "tests"]
nox.options.reuse_existing_virtualenvs = True
nox.options.error_on_external_run = True

CONSTRAINTS = "constraints.txt"
CODE = ("bench", "convnet", "convnet_bench.py", "tests", "benchmarks", "noxfile.py")
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
    session.run(python(session), "-m", "benchmarks.claims", *session.posargs)


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
def profile(session: nox.Session) -> None:
    """Where time and memory go: `nox -s profile -- --mode training --batch 32`."""
    install(session)
    session.run(python(session), "-m", "bench", "profile", *session.posargs)


@nox.session
def tests(session: nox.Session) -> None:
    """All tests; `nox -s tests -- -m 'not slow'` for the quick ones."""
    install(session, "dev")
    session.run(python(session), "-m", "pytest", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """ruff, as linter and formatter."""
    if session.virtualenv.is_sandboxed:
        session.install("-c", CONSTRAINTS, "ruff")
    session.run(python(session), "-m", "ruff", "check", *CODE)
    session.run(python(session), "-m", "ruff", "format", "--check", *CODE)


@nox.session
def types(session: nox.Session) -> None:
    """mypy, strict."""
    install(session, "dev")
    session.run(python(session), "-m", "mypy")
