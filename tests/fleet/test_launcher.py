"""The environment in which a unit starts."""

import os
import subprocess
from dataclasses import dataclass
from typing import Any

import pytest

from bench.fleet import launcher


@dataclass
class Unit:
    """A process that ends by itself after some looks."""

    looks: int
    killed: bool = False

    def wait(self, timeout: float | None = None) -> int:
        self.looks -= 1
        if timeout is not None and self.looks >= 0:
            raise subprocess.TimeoutExpired("unit", timeout)
        return 0

    def kill(self) -> None:
        self.killed = self.looks > 0


@pytest.mark.parametrize(("gone_after", "killed"), [(2, True), (99, False)])
def test_a_unit_ends_when_its_raylet_is_gone(gone_after: int, killed: bool) -> None:
    unit: Any = Unit(looks=5)
    left = iter([True] * gone_after + [False])
    launcher.wait_while(unit, lambda: next(left))
    assert unit.killed == killed


def test_without_a_raylet_the_environment_is_cleaned_of_what_ray_set() -> None:
    own = {"PATH": "/bin", "OMP_NUM_THREADS": "1", "RAY_JOB_ID": "1", "MKL_NUM_THREADS": "2"}
    assert launcher.environment(os.getpid(), own) == {"PATH": "/bin", "MKL_NUM_THREADS": "2"}
    assert launcher.environment(2**30, own) == {"PATH": "/bin", "MKL_NUM_THREADS": "2"}


@pytest.mark.parametrize(
    ("preloaded", "left"),
    [
        ("/site/ray/core/libjemalloc.so", None),
        ("/site/ray/core/libjemalloc.so:/usr/lib/libtcmalloc.so", "/usr/lib/libtcmalloc.so"),
        ("/usr/lib/one.so /usr/lib/two.so", "/usr/lib/one.so:/usr/lib/two.so"),
        ("", None),
    ],
)
def test_a_unit_has_the_libraries_that_the_user_preloads_and_not_rays_allocator(
    preloaded: str, left: str | None
) -> None:
    own = {"LD_PRELOAD": preloaded, "CUDA_VISIBLE_DEVICES": ""}
    found = launcher.environment(2**30, own)
    assert found.get("LD_PRELOAD") == left
    assert found["CUDA_VISIBLE_DEVICES"] == ""
