"""Earlier runs of one machine, found beside a baseline."""

from bench.read.table import ReadError, RunData, load


def beside(baseline: RunData, run: RunData) -> list[RunData]:
    """The runs in the baseline's parent folder that its machine made, by name.

    Left out: the baseline, the run that is judged, links (`latest`), runs that began later than the
    one that is judged or sampled otherwise than the baseline (a quick look scatters more), and what
    cannot be read: a broken neighbour says nothing about either side.
    """
    machines = {machine for machine in baseline.rows["machine_id"] if machine}
    judged = {baseline.path.resolve(), run.path.resolve()}
    if not machines or not baseline.path.is_dir():
        return []
    found = []
    for folder in sorted(baseline.path.resolve().parent.iterdir()):
        if folder.is_symlink() or not folder.is_dir() or folder in judged:
            continue
        try:
            other = load(folder, samples=False)
        except ReadError:
            continue
        if not _earlier(other, run) or _sampling(other) != _sampling(baseline):
            continue
        if machines.intersection(other.rows["machine_id"]) and _run_ids(other).isdisjoint(
            _run_ids(baseline) | _run_ids(run)  # a copy of either is no run of its own
        ):
            found.append(other)
    return found


def _earlier(other: RunData, run: RunData) -> bool:
    """ISO 8601 in UTC sorts as it reads; runs that do not say when count as earlier."""
    began, judged = other.run.get("started"), run.run.get("started")
    return not began or not judged or str(began) < str(judged)


def _sampling(run: RunData) -> list[object]:
    config = run.run.get("config")
    given = config if isinstance(config, dict) else {}
    return [given.get(name) for name in ("samples_s", "warmup_s", "min_samples", "replicates")]


def _run_ids(run: RunData) -> set[str]:
    return {name for name in run.rows["run_id"] if name}
