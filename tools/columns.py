"""The text of results/README.md, made from the records.

Run `python -m tools.columns > results/README.md` after a change of the records.
"""

import dataclasses

from bench.core.records import FLAGS, STATUSES, Row

HEAD = """\
# Results

A run directory holds `run.json` (what was asked, on which machine), `journal.jsonl` (what each
replicate saw, a line an outcome), and what follows from these two: `measurements.csv`,
`samples.csv` and `plots/`. `latest` points to the newest run. Only `example/` and `baseline/`
are kept in git. Made by `python -m tools.columns`; a test compares it with the records.

## measurements.csv: a line per case and phase

SI base units; an empty cell is unknown. Figures of the whole case stand on the line of its whole
phase (`forward` of inference, `step` of training); but `flops`, `bytes_moved` and their rates are
each phase's own, `page_faults`, `contention_ratio` and `control_s` are the replicate's and stand on
each line, and `relative_error` is that of output, loss and buffers on `forward`, that of the
gradients on `backward`, and the larger on the line of the whole. Clock, power, temperature,
utilisation and energy are those of NVIDIA GPUs, as their driver tells them.

| column | meaning |
|---|---|
"""
SAMPLES = """
## samples.csv: a line per sample

| column | meaning |
|---|---|
| run_id | the run directory's name |
| case_id | as above |
| replicate | number of the fresh interpreter, from 0 |
| phase | forward, backward, optimizer or step |
| kind | latency, pipelined or device |
| sample | number of the sample, from 0, in the order in which it was taken |
| calls_per_sample | calls between the two looks at the clock |
| seconds | per call |
"""


def text() -> str:
    """The page: a line a column, a line a flag."""
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
