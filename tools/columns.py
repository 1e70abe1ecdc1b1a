"""Make the text of results/README.md from the records.

Run `python -m tools.columns > results/README.md` after a change of the records.
"""

import dataclasses

from bench.core.records import FLAGS, STATUSES, Row

HEAD = """\
# Results

A run directory holds `run.json` (the request and the machine) and `journal.jsonl` (one line for
each outcome). Everything else follows from these two: `measurements.csv`, `samples.csv` and
`plots/`. `latest` is a link to the newest run. Only `example/` and `baseline/` are kept in git.
This page is made by `python -m tools.columns`; a test compares it with the records.

## measurements.csv: one line for each case and phase

Values are in SI base units; an empty cell is unknown. Figures of the whole case are on the line of
its whole phase (`forward` in inference, `step` in training). Exceptions:

- `flops`, `bytes_moved` and their rates belong to the phase of their line.
- `page_faults`, `contention_ratio` and `control_s` belong to the replicate and are on each line.
- `relative_error` on `forward` is that of output, loss and buffers; on `backward` that of the
  gradients; on the line of the whole the larger of the two.

Clock, power, temperature, utilisation and energy come from the driver of NVIDIA GPUs; on a CPU
power and energy come from the counters of its packages (RAPL), where they may be read.

| column | meaning |
|---|---|
"""
SAMPLES = """
## samples.csv: one line for each sample

| column | meaning |
|---|---|
| run_id | the run directory's name |
| case_id | as above |
| replicate | number of the fresh interpreter, from 0 |
| phase | forward, backward, optimizer or step |
| kind | latency, pipelined or device |
| sample | number of the sample, from 0, in the order in which it was taken |
| calls_per_sample | calls between the two readings of the clock |
| seconds | duration per call |
"""


def text() -> str:
    """Return the page: one line for each column and each flag."""
    columns = "".join(
        f"| {column.name} | {column.metadata['doc']} |\n" for column in dataclasses.fields(Row)
    )
    flags = "".join(f"| {name} | {meaning} |\n" for name, meaning in FLAGS.items())
    statuses = ", ".join(STATUSES)
    return (
        f"{HEAD}{columns}\n## Flags\n\n| flag | set when |\n|---|---|\n{flags}\n"
        f"Status is one of {statuses}.\n{SAMPLES}"
    )


if __name__ == "__main__":
    print(text(), end="")
