"""A cluster of Ray: its nodes, and one process on one of them at a time."""

import contextlib
import logging
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bench.core.errors import UserError
from bench.core.text import first_line, shortened_line
from bench.fleet import launcher
from bench.fleet.cluster import Answer, Lost, Node

RESOURCE = "bench"  # a node has one, which a unit takes whole
LABEL = "bench-kind"
# Every node gets a copy of the folder without these and without the files that git ignores.
NOT_SENT = [".git", "results", "**/__pycache__"]
START = (
    "RAY_worker_niceness=0 RAY_memory_monitor_refresh_ms=0 ray start --address=HEAD:6379 "
    "--num-cpus=1 --resources='{\"bench\": 1}' --object-store-memory=100000000 "
    "--disable-usage-stats"
)


class RayError(UserError):
    """Ray is not installed, or there is no cluster; the message is one line."""


def ray_module() -> Any:
    """Return Ray.  It takes a second to import, so only a fleet does.  Raises RayError."""
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
    except ImportError:
        raise RayError(
            "Ray is not installed; install the extra: pip install 'convnet-bench[fleet]'"
        ) from None
    return ray


class RayCluster:
    """The nodes that offer the resource `bench`."""

    def __init__(self, ray: Any) -> None:
        """ray: the module, connected to a cluster."""
        self._ray = ray
        # The launcher is sent by value: a node's own copy of this suite may be of another version.
        ray.cloudpickle.register_pickle_by_value(launcher)
        self._launch = ray.remote(
            num_cpus=0,
            resources={RESOURCE: 1},
            max_retries=0,
            retry_exceptions=False,
        )(launcher.launch)

    def nodes(self) -> Sequence[Node]:
        """Return the live nodes that can measure, the head last."""
        found = [
            Node(
                identity=one["NodeID"],
                address=one["NodeManagerAddress"],
                label=(one.get("Labels") or {}).get(LABEL),
                is_head="node:__internal_head__" in one["Resources"],
            )
            for one in self._ray.nodes()
            if one["Alive"] and one["Resources"].get(RESOURCE, 0) >= 1
        ]
        return sorted(found, key=lambda one: (one.is_head, one.address, one.identity))

    def start(self, node: Node, request: str) -> object:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        there = NodeAffinitySchedulingStrategy(node.identity, soft=False)
        return self._launch.options(scheduling_strategy=there).remote(request)

    def ended(self, handles: Sequence[object], wait_s: float) -> Sequence[object]:
        if not handles:
            time.sleep(wait_s)
            return []
        ready, _ = self._ray.wait(list(handles), num_returns=1, timeout=wait_s)
        return list(ready)

    def result(self, handle: object) -> Answer | Lost:
        try:
            return Answer(str(self._ray.get(handle)))
        except self._ray.exceptions.RayError as error:
            return Lost(shortened_line(f"{type(error).__name__}: {first_line(error)}", 300))


@contextlib.contextmanager
def connected(address: str, folder: Path) -> Iterator[RayCluster]:
    """Connect to a cluster, and send it the folder with the user's code.  Raises RayError."""
    ray = ray_module()
    try:
        ray.init(
            address=address,
            runtime_env={"working_dir": str(folder), "excludes": NOT_SENT},
            log_to_driver=False,
            logging_level=logging.ERROR,
        )
    except Exception as error:  # Ray raises many kinds, also ones of its own dependencies
        raise RayError(f"--address {address}: no cluster of Ray: {first_line(error)}") from None
    try:
        yield RayCluster(ray)
    finally:
        ray.shutdown()
