"""Check in twenty ways that the suite is right about an accelerator; make a table to paste.

    python -m experiments.gpu                       the first accelerator, about six minutes
    python -m experiments.gpu --device cuda:1 --out /tmp/proof
    python -m experiments.gpu --only 1,5,13         these checks, and only the work that they need

It changes no clock, power limit or mode.  The folder gets `proof.md` (the table), `evidence.json`
(all figures), and `run`, a run directory like that of `bench run`.  Exit code: 0 if no check
failed, 1 if one did, 2 where there is no such accelerator.
"""

import argparse
import dataclasses
import datetime
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.core.records import Case, Measurement
from bench.core.text import command as shown_command
from bench.engine.fork_server import ForkServer
from bench.engine.requests import request
from bench.host import probe
from bench.plan.config import RunOptions
from bench.results import journal
from bench.results.loading import load
from bench.results.run_directory import Folders
from bench.selftest import devices
from experiments.gpu.checks import CHECKS, PRODUCT, Evidence, markdown, results

SWEEP = Path(__file__).with_name("sweep.toml")
PROBE_S, ORACLE_S, RUN_S, PROFILE_S = 60.0, 120.0, 420.0, 120.0
FORKS, START, RATES, KNOWN, RUN, PROFILES = "forks", "start", "rates", "known", "run", "profiles"
# What each check looks at.
NEEDS: Mapping[int, Sequence[str]] = {
    1: [FORKS], 2: [START], 3: [KNOWN], 4: [KNOWN], 5: [KNOWN], 6: [RUN, RATES], 7: [RUN],
    8: [RUN], 9: [RUN, RATES], 10: [RUN], 11: [RUN], 12: [RUN], 13: [RUN], 14: [RUN], 15: [RUN],
    16: [RUN, RATES], 17: [RUN, RATES], 18: [RUN, RATES], 19: [RUN, RATES], 20: [PROFILES],
}  # fmt: skip


def say(text: str) -> None:
    print(text, flush=True)


def run(*arguments: str, limit_s: float) -> str:
    """Return the output of a module.  Its exit code is printed, and a failure is not raised."""
    begin = time.monotonic()
    command = [sys.executable, "-m", *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit_s, check=False)
        code, output, errors = done.returncode, done.stdout, done.stderr
    except subprocess.TimeoutExpired:
        code, output, errors = 124, "", f"not done after {limit_s:.0f} s"
    say(f"… {shown_command(*arguments)}: exit code {code}, {time.monotonic() - begin:.0f} s")
    if code:
        say(errors[-2000:])
    return output


def oracle(question: str, device: str) -> dict[str, Any]:
    """The figures by plain torch; none where it failed."""
    lines = run("experiments.gpu.oracle", question, device, limit_s=ORACLE_S).splitlines()
    found = json.loads(lines[-1]) if lines and lines[-1].startswith("{") else {}
    return found if isinstance(found, dict) else {}


def forks(device: str, folder: Path) -> tuple[str, ...]:
    """Return the notes of a fork server with torch's compiler after one case on the device."""
    notes: list[str] = []
    server = ForkServer(
        allocator=None, modules=["convnet"], inductor=True, log=folder / "log", say=notes.append
    )
    try:
        folders = Folders(scratch=folder, failures=folder / "failures")
        asked = request("measure", _plain(device), 0, RunOptions(samples_s=0.1), folders)
        Path(asked.out).parent.mkdir(parents=True, exist_ok=True)
        server.ask(asked)
        if not Path(asked.out).exists():
            notes.append(f"the case left no record: {(folder / 'log').read_text()[-300:]}")
    finally:
        server.close()
    return tuple(dict.fromkeys(notes))


def _plain(device: str) -> Case:
    """The ConvNet's inference at N = 1."""
    nvidia = device.startswith("cuda")
    return Case(
        subject="convnet", mode="inference", batch=1, input="3,224,224", device=device,
        dtype="float32", amp="off", memory_format="contiguous", compile="off",
        cudnn_benchmark="off" if nvidia else None, tf32="off" if nvidia else None,
        threads=None, allocator=None,
    )  # fmt: skip


def sweep(device: str, folder: Path) -> Path:
    """The run directory of the sweep."""
    config = folder / "sweep.toml"
    config.write_text(SWEEP.read_text(encoding="utf-8").replace("DEVICE", device))
    out = folder / "run"
    run("bench", "run", "--config", str(config), "--out", str(out), limit_s=RUN_S)
    return out


def profiles(device: str, folder: Path) -> dict[str, dict[str, Any]]:
    """Return `device` of profile.json of the large product, and of the ConvNet at N = 1."""
    large = ("--input", "8192", "--batch", "8192", "--dtype", "bfloat16")
    asked = {
        "product": ("--subject", PRODUCT, *large),
        "single": ("--subject", "convnet", "--batch", "1"),
    }
    found = {}
    for name, flags in asked.items():
        out = folder / f"profile-{name}"
        always = ("--mode", "inference", "--device", device, "--out", str(out))
        run("bench", "profile", *flags, *always, limit_s=PROFILE_S)
        for file in sorted(out.glob("*/profile.json")):
            found[name] = json.loads(file.read_text(encoding="utf-8")).get("device") or {}
    return found


def gather(device: str, folder: Path, needs: frozenset[str]) -> Evidence:
    """Do the work that the checks need, one step after the other.

    evidence.json has what was found so far, so that an end in the middle loses nothing.
    """
    evidence = Evidence(device=device)

    def add(**found: Any) -> None:
        nonlocal evidence
        evidence = dataclasses.replace(evidence, **found)
        text = json.dumps(dataclasses.asdict(evidence), indent=1, default=str)
        (folder / "evidence.json").write_text(text, encoding="utf-8")

    if FORKS in needs:
        with tempfile.TemporaryDirectory() as scratch:
            add(fork_notes=forks(device, Path(scratch)))
    if START in needs:
        add(start=oracle("start", device))
    if KNOWN in needs:
        add(known=devices.look().get(device, {}))
    if RATES in needs:
        add(rates=oracle("rates", device))
    if PROFILES in needs:
        add(profiles=profiles(device, folder))
    if RUN in needs:
        add(**of_run(sweep(device, folder), device))
    return evidence


def of_run(out: Path, device: str) -> dict[str, Any]:
    """The part of the evidence that a run directory holds."""
    if not (out / "measurements.csv").exists():
        return {}
    found = load(out, samples=False)
    states = {
        one.case.case_id: one.state
        for one in journal.read(out / journal.NAME)
        if isinstance(one, Measurement)
    }
    sweeps = found.description.machine.peaks.get(device)
    peaks = sweeps[0].model_dump() if sweeps else {}
    return {"rows": found.rows, "states": states, "peaks": peaks}


def title(evidence: Evidence, name: str) -> str:
    rates = evidence.rates
    known = [name, evidence.device]
    known += [f"driver {rates['driver']}"] if "driver" in rates else []
    known += [f"torch {rates['torch']}"] if "torch" in rates else []
    known += [datetime.datetime.now(datetime.UTC).date().isoformat()]
    return ", ".join(known)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", help="accelerator [default: the first]")
    now = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%SZ")
    out = Path("results") / f"{now}-gpu-proof"
    parser.add_argument("--out", type=Path, default=out, metavar="DIR", help="a new folder")
    parser.add_argument("--only", metavar="1,5,13", help="numbers of checks [default: all]")
    asked = parser.parse_args()
    there = {name: one.shown for name, one in probe.look((), {}, PROBE_S).devices.items()}
    accelerators = [one for one in there if one != "cpu"]
    device = asked.device or next(iter(accelerators), None)
    if device not in accelerators:
        say(f"torch finds no {asked.device or 'accelerator'} here; it finds {', '.join(there)}")
        return 2
    only = {int(one) for one in asked.only.split(",")} if asked.only else set(NEEDS)
    if unknown := only - set(NEEDS):
        say(f"--only {sorted(unknown)}: the checks are 1 to {len(CHECKS)}")
        return 2
    if asked.out.exists():
        say(f"--out {asked.out}: exists already; choose another")
        return 2
    asked.out.mkdir(parents=True)
    needs = frozenset(need for one in only for need in NEEDS[one])
    evidence = gather(device, asked.out, needs)
    found = [one for one in results(evidence) if one.number in only]
    table = markdown(found, title(evidence, there[device]))
    (asked.out / "proof.md").write_text(table, encoding="utf-8")
    say(table)
    return int(any(one.verdict == "FAILED" for one in found))


if __name__ == "__main__":
    sys.exit(main())
