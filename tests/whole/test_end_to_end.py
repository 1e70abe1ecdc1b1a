"""The whole way in processes of its own, as a user goes it, on a subject that takes no time."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from bench.core.records import COLUMNS
from experiments import kills
from tests.support.paths import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.alone]

SWEEP = """
[run]
replicates = 3
max_replicates = 3
samples_s = 0.02
warmup_s = 0.01

[[sweep]]
allocator = "retained"
subject = ["tests.subjects.hostile:Small", "tests.subjects.hostile:Raises"]
input = "4"
batch = [2, 4]
mode = ["inference", "training"]
"""


def bench(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bench", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), **variables},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def outcomes(run: Path) -> Counter[tuple[str, int]]:
    lines = [json.loads(line) for line in (run / "journal.jsonl").read_text().splitlines()]
    return Counter((one["case_id"], one["replicate"]) for one in lines if one["kind"] != "facts")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("project")
    (made / "bench.toml").write_text(SWEEP)
    return made


@pytest.fixture(scope="module")
def done(folder: Path) -> subprocess.CompletedProcess[str]:
    return bench(folder, "run", "--out", "run")


def asked_for(after: Counter[tuple[str, int]]) -> int:
    """Of Small, the first three replicates; later ones replace what other work disturbed."""
    return sum("Small" in case_id and replicate < 3 for case_id, replicate in after)


def test_a_run_leaves_every_file_and_says_where(
    folder: Path, done: subprocess.CompletedProcess[str]
) -> None:
    for name in ("run.json", "journal.jsonl", "measurements.csv", "samples.csv", "plots"):
        assert (folder / "run" / name).exists(), done.stderr
    assert "run/measurements.csv" in done.stdout
    assert not (folder / "run" / ".scratch").exists()
    lines = done.stdout.splitlines()
    table = lines[lines.index(next(one for one in lines if one.startswith("One call:"))) :]
    named = [line for line in table if line.startswith(("Small ", "Raises ")) and " N=" in line]
    assert len(named) >= 8, done.stdout
    assert max(map(len, named)) <= 100
    assert [line for line in lines if line != line.rstrip()] == []
    assert "compare: bench compare run --by batch" in done.stdout


def test_a_case_that_raises_is_a_row_and_exit_code_4_and_the_others_are_measured(
    folder: Path, done: subprocess.CompletedProcess[str]
) -> None:
    assert done.returncode == 4
    with (folder / "run" / "measurements.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    phases = Counter((row["subject"], row["status"], row["phase"]) for row in rows)
    assert phases["tests.subjects.hostile:Small", "ok", "forward"] == 4
    assert phases["tests.subjects.hostile:Small", "ok", "step"] == 2
    assert phases["tests.subjects.hostile:Raises", "error", ""] == 4
    (reason,) = {row["reason"].split(" (")[0] for row in rows if row["status"] == "error"}
    assert reason == "RuntimeError: shapes do not fit <b>here</b>"
    assert len(list((folder / "run" / "failures").iterdir())) == 4 * 2  # given up after two
    whole = next(row for row in rows if row["phase"] == "step")
    assert float(whole["images_per_s"]) > 0
    assert int(whole["parameters"]) == 20
    assert int(whole["replicates"]) >= 3  # more where other work disturbed one


def test_an_existing_directory_is_refused_and_left_alone(
    folder: Path, done: subprocess.CompletedProcess[str]
) -> None:
    before = (folder / "run" / "run.json").read_bytes()
    again = bench(folder, "run", "--out", "run")
    assert again.returncode == 2
    assert again.stderr.startswith("bench: --out run: exists already; ")
    assert again.stderr.count("\n") == 1
    assert (folder / "run" / "run.json").read_bytes() == before
    assert done.stderr == ""


def test_a_directory_that_cannot_be_made_is_one_line(folder: Path) -> None:
    refused = bench(folder, "run", "--out", "/proc/bench-run")
    assert refused.returncode == 2
    assert refused.stderr.startswith("bench: --out /proc/bench-run: cannot be ")
    assert refused.stderr.count("\n") == 1


def test_a_run_is_the_same_as_itself_and_the_report_says_so(
    folder: Path, done: subprocess.CompletedProcess[str]
) -> None:
    assert done.returncode == 4
    checked = bench(folder, "check", "run", "--baseline", "run")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert (folder / "run" / "report.md").read_text().startswith("**no regression found")


def test_what_a_mode_gains_is_printed_in_a_table(
    folder: Path, done: subprocess.CompletedProcess[str]
) -> None:
    assert done.returncode == 4
    compared = bench(folder, "compare", "run", "--by", "batch")
    assert compared.returncode == 0, compared.stderr
    assert "batch: images per second of 4 as a multiple of 2" in compared.stdout
    wrong = bench(folder, "compare", "run", "--by", "amp")
    assert wrong.returncode == 2
    assert wrong.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("output", "code", "says"),
    [
        ("| head -1", 4, ""),
        ("> /dev/full", 2, "bench: standard output: No space left on device; make room there\n"),
        (">&-", 4, ""),
    ],
)
def test_a_run_whose_output_cannot_be_written_is_measured_to_its_end(
    folder: Path, output: str, code: int, says: str
) -> None:
    out = f"run-{code}-{len(output)}"
    run = f"{sys.executable} -m bench run --config once.toml --out {out} {output}"
    script = f"{run}; exit ${{PIPESTATUS[0]}}"
    (folder / "once.toml").write_text(SWEEP.replace("replicates = 3", "replicates = 1"))
    done = subprocess.run(
        ["/bin/bash", "-c", script],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert (done.returncode, done.stderr) == (code, says)
    assert sum("Small" in case_id for case_id, _ in outcomes(folder / out)) == 4
    assert (folder / out / "measurements.csv").exists()


def _begin(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "bench", "run", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _wait_for_lines(run: Path, count: int) -> None:
    journal, end = run / "journal.jsonl", time.monotonic() + 100
    while time.monotonic() < end:
        if journal.exists() and journal.read_bytes().count(b"\n") >= count:
            return
        time.sleep(0.01)  # waits for another process, whose speed is not what is tested
    raise AssertionError(f"{run}: the run did not begin")


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
def test_a_run_that_is_ended_anywhere_goes_on_and_measures_everything_once(
    folder: Path, end: signal.Signals
) -> None:
    run = folder / end.name
    process = _begin(folder, "--out", run.name)
    _wait_for_lines(run, 5)
    second = bench(folder, "run", "--resume", run.name)
    assert second.returncode == 2
    assert "another `bench run` is writing here" in second.stderr
    process.send_signal(end)
    out, _ = process.communicate(timeout=100)
    if end == signal.SIGINT:
        assert process.returncode == 130
        assert f"to resume: bench run --resume {run.name}" in out
        assert (run / "measurements.csv").exists()
    finished = set(outcomes(run))
    assert finished
    resumed = bench(folder, "run", "--resume", run.name)
    assert resumed.returncode == 4, resumed.stderr
    after = outcomes(run)
    assert set(after.values()) == {1}
    assert finished <= set(after)
    assert asked_for(after) == 4 * 3
    assert (run / "measurements.csv").exists()


def test_a_resume_on_another_machine_is_refused_and_says_what_differs(
    folder: Path, done: subprocess.CompletedProcess[str]
) -> None:
    assert done.returncode == 4
    described = json.loads((folder / "run" / "run.json").read_text())
    described["machine"]["machine_id"] = "another"
    moved = folder / "moved"
    moved.mkdir()
    (moved / "run.json").write_text(json.dumps(described))
    (moved / "journal.jsonl").touch()
    refused = bench(folder, "run", "--resume", "moved", OMP_NUM_THREADS="1")
    assert refused.returncode == 2
    assert refused.stderr.count("\n") == 1
    assert "another machine: it was another, this is" in refused.stderr
    assert "another environment variable OMP_NUM_THREADS: it was None, this is 1" in refused.stderr


def test_a_run_of_which_anything_is_killed_goes_on_and_has_everything_once(tmp_path: Path) -> None:
    killed = kills.torment(tmp_path, kills=3, seed=6)
    assert killed == {"worker": 1, "replicate": 1, "runner": 1}


SMALL_DISK = """
mount -t tmpfs -o size=24m none disk || exit 77
cp bench.toml disk && cd disk || exit 78
head -c {filler} /dev/zero > filler
to=../kept
"{python}" -m bench run --out run > $to/first.out 2> $to/first.err; echo $? > $to/first.code
rm filler
"{python}" -m bench run --resume run > $to/second.out 2> $to/second.err; echo $? > $to/second.code
cp -r run $to
"""


def test_a_run_on_a_disk_that_is_full_stops_and_goes_on_when_there_is_room(tmp_path: Path) -> None:
    (tmp_path / "bench.toml").write_text(SWEEP)
    for name in ("disk", "kept"):
        (tmp_path / name).mkdir()
    room = 64 * 2**10  # for a few outcomes
    script = SMALL_DISK.format(filler=24 * 2**20 - room, python=sys.executable)
    done = subprocess.run(
        ["unshare", "--map-root-user", "--mount", "sh", "-c", script],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    if done.returncode == 77 or "unshare" in done.stderr:
        pytest.skip(f"no file system of a chosen size here: {done.stderr}")
    kept = tmp_path / "kept"
    said = (kept / "first.err").read_text()
    assert (kept / "first.code").read_text() == "2\n", said
    assert said.startswith("bench: ")
    assert said.count("\n") == 1
    assert "o space left on" in said
    assert "make room, then continue with --resume" in said
    assert "bench run --resume run" in (kept / "first.out").read_text()
    assert (kept / "second.code").read_text() == "4\n", (kept / "second.err").read_text()
    after = outcomes(kept / "run")
    assert set(after.values()) == {1}
    assert asked_for(after) == 4 * 3
    reasons = {one["reason"].split(" (")[0] for one in _failures(kept / "run")}
    assert reasons == {"RuntimeError: shapes do not fit <b>here</b>"}


def _failures(run: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (run / "journal.jsonl").read_text().splitlines()]
    return [one for one in lines if one["kind"] == "failure"]
