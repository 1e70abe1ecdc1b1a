"""The names of a machine's devices in plots, tables and the page."""

from pathlib import Path

import pytest

from bench.compare.groups import groups
from bench.core.records import Entry
from bench.html.page import _devices
from bench.plots.captions import device_name
from bench.results.results import Results
from bench.terminal.run_summary import _accelerators
from tests.support.cases import case
from tests.support.results import replicates, run_of

H100, SLICE = "NVIDIA H100 80GB HBM3", "NVIDIA H100 80GB HBM3 MIG 1g.10gb"


def run(folder: Path, **names: str) -> Results:
    """The ConvNet on the CPU and on these accelerators, named `cuda0` for cuda:0."""
    devices = {name.replace("cuda", "cuda:"): shown for name, shown in names.items()}
    entries: list[Entry] = replicates(case(), [0.01] * 5)
    for device in devices:
        gpu = {"cudnn_benchmark": "off", "tf32": "off", "threads": None, "allocator": None}
        entries += replicates(case(device=device, **gpu), [0.001] * 5)
    return run_of(folder / "run", entries, devices={"cpu": "AMD EPYC", **devices})


@pytest.mark.parametrize(
    ("names", "shown"),
    [
        ({"cuda0": H100}, ["AMD EPYC", H100]),
        ({"cuda0": H100, "cuda1": H100}, ["AMD EPYC", f"{H100} (cuda:0)", f"{H100} (cuda:1)"]),
        ({"cuda0": H100, "cuda3": SLICE}, ["AMD EPYC", f"{H100} (cuda:0)", f"{SLICE} (cuda:3)"]),
    ],
)
def test_a_plot_names_the_accelerator_and_its_number_where_there_are_several(
    tmp_path: Path, names: dict[str, str], shown: list[str]
) -> None:
    made = run(tmp_path, **names)
    (group,) = groups(made.rows)
    assert [device_name(made, group, device) for device in group.devices] == shown


def test_the_table_says_which_accelerator_a_number_is(tmp_path: Path) -> None:
    made = run(tmp_path, cuda0=H100, cuda3=SLICE)
    assert _accelerators(made.rows) == [f"cuda:0: {H100}; cuda:3: {SLICE}"]
    assert _accelerators([row for row in made.rows if row.device == "cpu"]) == []


def test_the_page_counts_equal_accelerators_by_their_numbers(tmp_path: Path) -> None:
    made = run(tmp_path, cuda0=H100, cuda1=H100, cuda2=SLICE)
    assert list(_devices(made.rows)) == [
        "AMD EPYC",
        f"{H100} (cuda:0, cuda:1)",
        f"{SLICE} (cuda:2)",
    ]
