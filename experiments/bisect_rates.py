"""Simulate how often `bench bisect` names the right commit, and after how many pairs.

python -m experiments.bisect_rates [--trials 300]
"""

import argparse
import math
import random
import statistics
from dataclasses import dataclass, field

from bench.bisect.posterior import Suspects
from bench.bisect.search import Answer, CannotRunError, Search


@dataclass
class World:
    """Commits of which one has the effect.

    sd: of a pair's log ratio.  spikes: share of pairs with five times that SD.
    own_sd: between commits, of what their code differs by without the effect.
    """

    commits: int
    culprit: int
    effect: float
    sd: float
    draw: random.Random
    spikes: float = 0.0
    own_sd: float = 0.0
    broken: frozenset[int] = frozenset()
    pairs: int = 0
    own: list[float] = field(init=False)

    def __post_init__(self) -> None:
        self.own = [self.draw.gauss(0, self.own_sd) for _ in range(self.commits + 1)]

    def pair(self, commit: int) -> float:
        if commit in self.broken:
            raise CannotRunError("broken")
        self.pairs += 1
        sd = self.sd * (5 if self.draw.random() < self.spikes else 1)
        changed = self.effect if commit >= self.culprit else 0.0
        return self.own[commit] + self.draw.gauss(0, sd) + changed

    def differs(self, suspects: Suspects, change: float) -> bool:
        """Answer as a comparison that makes no error."""
        assert (change > 0) is (self.effect > 0) or self.effect == 0
        return self.effect != 0 and suspects.first <= self.culprit <= suspects.last


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    name: str
    commits: int
    percent: float
    sd: float
    spikes: float = 0.0
    own_sd: float = 0.0
    broken: int = 0  # commits that cannot run


SETTINGS = (
    Setting(name="+8 %, SD 2 %", commits=64, percent=8, sd=0.02),
    Setting(name="+8 %, SD 2 %, 5 % spikes", commits=64, percent=8, sd=0.02, spikes=0.05),
    Setting(name="+8 %, SD 2 %, own 0.5 %", commits=64, percent=8, sd=0.02, own_sd=0.005),
    Setting(name="+8 %, SD 2 %, 8 broken", commits=64, percent=8, sd=0.02, broken=8),
    Setting(name="+5 %, SD 2 %", commits=128, percent=5, sd=0.02),
    Setting(name="+5 %, SD 3 %", commits=128, percent=5, sd=0.03),
    Setting(name="-8 %, SD 2 %", commits=64, percent=-8, sd=0.02),
    Setting(name="no change, SD 2 %", commits=64, percent=0, sd=0.02),
)


def trial(setting: Setting, seed: int) -> tuple[Answer, bool, bool, int]:
    """Return the answer, whether it is right, whether the first one was, and the pairs."""
    draw = random.Random(f"{setting.name}:{seed}")
    culprit = draw.randint(1, setting.commits)
    broken = frozenset(draw.sample(range(1, setting.commits), setting.broken))
    world = World(
        setting.commits, culprit, math.log1p(setting.percent / 100), setting.sd, draw,
        spikes=setting.spikes, own_sd=setting.own_sd, broken=broken,
    )  # fmt: skip
    search = Search([1.0] * setting.commits, world)
    answer = search.run()
    found = search.suspects()
    right = answer is Answer.FOUND and found.first <= culprit <= found.last
    if setting.percent == 0:
        right = answer is not Answer.FOUND
    return answer, right, right and not search.refuted, world.pairs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=300)
    trials = parser.parse_args().trials
    print(
        "| change | commits | right | without a refuted answer | pairs, median | 95 % of searches |"
    )
    print("|---|---|---|---|---|---|")
    for setting in SETTINGS:
        found = [trial(setting, seed) for seed in range(trials)]
        right = sum(one[1] for one in found) / trials
        first = sum(one[2] for one in found) / trials
        pairs = sorted(one[3] for one in found)
        most = pairs[math.ceil(0.95 * trials) - 1]
        print(
            f"| {setting.name} | {setting.commits} | {100 * right:.1f} % | {100 * first:.1f} % | "
            f"{statistics.median(pairs):.0f} | {most} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
