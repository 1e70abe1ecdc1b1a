"""The steps that decide about a pull request, run by a shell as a runner does."""

import os
import re
import subprocess
import textwrap
from pathlib import Path

import pytest

import noxfile
from tests.support.paths import ROOT

WORKFLOW = ROOT / ".github" / "workflows" / "performance.yml"
NOXFILE = (ROOT / "noxfile.py").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("given", "compared"),
    [
        ([], ["HEAD", "."]),
        (["--budget", "60"], ["HEAD", ".", "--budget", "60"]),
        (["main", "."], ["main", "."]),
        (["amp=off", "amp=bfloat16", "--strict"], ["amp=off", "amp=bfloat16", "--strict"]),
        (["--resume", "results/x"], ["--resume", "results/x"]),
        (["--resume=results/x"], ["--resume=results/x"]),
    ],
)
def test_the_session_alone_compares_head_with_the_working_tree(
    given: list[str], compared: list[str]
) -> None:
    assert noxfile.sides(given) == compared


def script() -> str:
    found = re.search(
        r"- name: merge base against head\n.*?run: \|\n(.*?)\n {6}- name",
        WORKFLOW.read_text(encoding="utf-8"),
        flags=re.DOTALL,
    )
    assert found is not None
    return textwrap.dedent(found[1])


def test_what_is_compared_is_the_head_of_the_pull_request_and_no_job_keeps_credentials() -> None:
    performance = WORKFLOW.read_text(encoding="utf-8")
    assert "ref: ${{ github.event.pull_request.head.sha }}" in performance
    for file in WORKFLOW.parent.glob("*.yml"):
        text = file.read_text(encoding="utf-8")
        assert text.count("actions/checkout@") == text.count("persist-credentials: false"), file


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "verdict", "expected"),
    [
        (0, "SAME", 0),
        (1, "REGRESSED", 1),
        (2, "SAME", 2),
        (4, "forward,time_s,SAME,\nother,,,FAILED,", 0),
        (4, "forward,time_s,SAME,\nother,forward,time_s,REGRESSED,", 4),
        (4, "other,,,FAILED,", 4),  # nothing was compared
        (130, "SAME", 130),
    ],
)
def test_a_pull_request_fails_on_a_regression_and_where_nothing_was_compared(
    tmp_path: Path, code: int, verdict: str, expected: int
) -> None:
    commands = tmp_path / "commands"
    commands.mkdir()
    for name, body in (
        ("git", '[ "$*" = "merge-base origin/main HEAD" ] && echo 0123'),
        ("bench", f"echo $@ > asked; mkdir ab; echo 'a,{verdict}' > ab/ab.csv; exit {code}"),
    ):
        (commands / name).write_text(f"#!/bin/sh\n{body}\n")
        (commands / name).chmod(0o755)
    done = subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script()],
        cwd=tmp_path,
        env={"PATH": f"{commands}:{os.environ['PATH']}", "BASE": "origin/main"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == expected, done.stderr
    assert (tmp_path / "asked").read_text().startswith("ab 0123 HEAD ")
    assert ("::warning::" in done.stdout) == (code == 4 and expected == 0)


def test_every_action_is_pinned_to_a_commit_and_its_version_stands_beside_it() -> None:
    for file in WORKFLOW.parent.glob("*.yml"):
        used = re.findall(r"uses: (.*)", file.read_text(encoding="utf-8"))
        assert used, file
        loose = [one for one in used if not re.fullmatch(r"\S+@[0-9a-f]{40} # v\d+\.\d+\.\d+", one)]
        assert loose == [], file


def test_a_newer_push_ends_what_runs_for_an_older_one_and_every_job_has_a_limit() -> None:
    for file in WORKFLOW.parent.glob("*.yml"):
        text = file.read_text(encoding="utf-8")
        assert "\nconcurrency:" in text, file
        assert text.count("runs-on:") == text.count("timeout-minutes:"), file


@pytest.mark.parametrize("file", sorted(WORKFLOW.parent.glob("*.yml")), ids=lambda one: one.name)
def test_the_sessions_that_a_workflow_runs_are_those_of_the_noxfile(file: Path) -> None:
    asked = re.findall(r"run: nox -s ([\w -]+?)(?: --|$)", file.read_text(), flags=re.MULTILINE)
    sessions = set(re.findall(r"^def (\w+)\(session: nox", NOXFILE, flags=re.MULTILINE))
    names = {name.replace("_", "-") for name in sessions}
    assert {name for line in asked for name in line.split()} <= names


def step(workflow: str, name: str) -> str:
    """The script of a step."""
    text = (WORKFLOW.parent / workflow).read_text(encoding="utf-8")
    found = re.search(
        rf"- name: {name}\n(?: {{8}}env:\n(?: {{10}}.*\n)+)? {{8}}run: \|\n((?: {{10}}.*\n)+)", text
    )
    assert found is not None, name
    return textwrap.dedent(found[1])


@pytest.mark.slow
def test_the_nightly_runs_pile_up_in_a_branch_that_holds_nothing_else(tmp_path: Path) -> None:
    commands = tmp_path / "commands"
    commands.mkdir()
    fake = 'mkdir -p "$4/plots"; echo ",ok," > "$4/measurements.csv"; exit 4'
    (commands / "bench").write_text(f"#!/bin/sh\n{fake}\n")
    (commands / "bench").chmod(0o755)
    remote = tmp_path / "remote.git"
    own = ("-c", "user.name=a", "-c", "user.email=a@example.org")

    def git(folder: Path, *arguments: str) -> str:
        done = subprocess.run(
            ["git", *own, *arguments], cwd=folder, capture_output=True, text=True, check=True
        )
        return done.stdout

    git(tmp_path, "init", "--quiet", "--bare", str(remote))
    for night in (1, 2):
        work = tmp_path / f"night{night}" / "work"
        work.mkdir(parents=True)
        git(work, "init", "--quiet", "-b", "main")
        (work / "net.py").write_text("x = 1\n")
        git(work, "add", ".")
        git(work, "commit", "--quiet", "-m", f"night {night}")
        for name in ("fetch the store", "measure", "keep the run"):
            done = subprocess.run(
                [
                    "bash",
                    "--noprofile",
                    "--norc",
                    "-eo",
                    "pipefail",
                    "-c",
                    step("history.yml", name),
                ],
                cwd=work,
                env={
                    "PATH": f"{commands}:{os.environ['PATH']}",
                    "STORE": str(work / ".." / "store"),
                    "REMOTE": str(remote),
                },
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, f"{name}: {done.stderr}"
        files = git(remote, "ls-tree", "-r", "--name-only", "history").splitlines()
        assert len(files) == night
        assert all(re.fullmatch(r"runs/\w+-[0-9a-f]{8}/measurements\.csv", one) for one in files)
