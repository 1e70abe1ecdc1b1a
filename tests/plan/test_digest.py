"""The digest of a plan: equal for what is measured alike, whatever file it came from."""

from pathlib import Path
from typing import Any

from bench.plan import config, digest

SWEEP = "[[sweep]]\nbatch = [1, 8]\n"


def load(folder: Path, text: str = SWEEP, **options: Any) -> config.Config:
    folder.mkdir(exist_ok=True)
    file = folder / "bench.toml"
    file.write_text(text, encoding="utf-8")
    return config.load(file, **options)


def test_the_same_sweep_has_the_same_digest_wherever_its_file_lies(tmp_path: Path) -> None:
    here = digest.of(load(tmp_path / "a"))
    assert here == digest.of(load(tmp_path / "b"))
    assert here == digest.of(load(tmp_path / "b", timeout_s=77.0, budget_s=9.0))
    assert len(here) == 12


def test_another_sweep_or_another_sampling_has_another_digest(tmp_path: Path) -> None:
    here = load(tmp_path / "a")
    others = [
        load(tmp_path / "b", "[[sweep]]\nbatch = [1, 9]\n"),
        load(tmp_path / "c", replicates=6),
        load(tmp_path / "d", seed=1),
        load(tmp_path / "e", samples_s=0.7),
        load(tmp_path / "f", only=["convnet"]),
    ]
    assert len({digest.of(one) for one in (here, *others)}) == 6
