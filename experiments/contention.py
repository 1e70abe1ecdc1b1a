"""Count the rows flagged `contended` on this machine, quiet and beside busy processes.

    python -m experiments.contention

The same sweep twice: ConvNet and its layers, in three replicates; first alone, then beside
one busy process a core.  Nothing else may run meanwhile.
"""

import argparse
import csv
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from experiments.busy import neighbours

CONFIG = """
[run]
replicates = 3
samples_s = 0.2
warmup_s = 0.1

[[sweep]]
subject = ["convnet", "convnet/*"]
mode = ["inference", "training"]
batch = [1, 8]
memory_format = ["contiguous", "channels_last"]
allocator = ["retained"]
"""


def flagged(folder: Path, config: Path) -> tuple[int, int]:
    """Return the number of cases flagged `contended`, and of all that are ok, of one run."""
    command = [sys.executable, "-m", "bench", "run", "--config", str(config), "--out", str(folder)]
    subprocess.run(command, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    with (folder / "measurements.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["phase"] in ("forward", "step")]
    whole = [row for row in rows if row["phase"] == ("step", "forward")[row["mode"] == "inference"]]
    return sum("contended" in row["flags"].split(";") for row in whole), len(whole)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        config = scratch / "contention.toml"
        config.write_text(CONFIG, encoding="utf-8")
        found, cases = flagged(scratch / "quiet", config)
        print(f"quiet: {found} of {cases} cases flagged", flush=True)
        count = os.cpu_count() or 1
        with neighbours(count):
            found, cases = flagged(scratch / "busy", config)
        print(f"beside {count} busy processes: {found} of {cases} cases flagged")


if __name__ == "__main__":
    main()
