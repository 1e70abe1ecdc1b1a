"""Measure a model, compare two ways to call it, run a sweep, and read its results.

Start it in its folder: `python python_door.py`.  docs/python.md explains each object.
"""

import torch
from models import make_net

import bench


def main() -> None:
    """Print what each of the four functions finds."""
    model, x = make_net(), torch.randn(8, 3, 32, 32)

    def one_by_one(images: torch.Tensor) -> torch.Tensor:
        return torch.cat([model(image) for image in images.chunk(len(images))])

    # This process: quick, and it knows one process only.
    m = bench.measure(model, x, mode="training")
    print(m)
    print(f"one step: {m.latency.median_s:.6f} s, {m.throughput.median_per_s:.0f} images/s")
    for phase, time in m.phases.items():
        print(f"  {phase}: {time}")
    if m.memory is not None:
        print(f"  peak memory: {m.memory.peak_bytes} bytes")

    # Callables that take turns in this process, and whether they compute the same.
    c = bench.compare({"together": model, "one by one": one_by_one}, x, mode="inference")
    print(c)
    print(c.sentences[0])
    print(f"the same outputs: {c.same_outputs}")

    # Fresh processes for each case, as `bench run`: intervals over processes, results on disk.
    run = bench.run(
        "models:make_net", config="small.toml", input="3,32,32", batch=[1, 8], progress=False
    )
    print(run)

    # The results of any run, now or later.
    run = bench.load("results/latest")
    print(run.frame[["case_id", "phase", "latency_median_s"]])
    print(f"{len(run.samples)} samples")
    print(run.speedups(by="memory_format")[["base", "value", "ratio", "low", "high", "verdict"]])
    for sentence in run.sentences:
        print(sentence)
    for path in run.plot("speedup").save("plots"):
        print(path)


if __name__ == "__main__":
    main()
