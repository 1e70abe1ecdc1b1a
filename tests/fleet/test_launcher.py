"""The environment in which a unit starts."""

import os

from bench.fleet import launcher


def test_without_a_raylet_the_environment_is_cleaned_of_what_ray_set() -> None:
    own = {"PATH": "/bin", "OMP_NUM_THREADS": "1", "RAY_JOB_ID": "1", "MKL_NUM_THREADS": "2"}
    assert launcher.environment(os.getpid(), own) == {"PATH": "/bin", "MKL_NUM_THREADS": "2"}
    assert launcher.environment(2**30, own) == {"PATH": "/bin", "MKL_NUM_THREADS": "2"}
