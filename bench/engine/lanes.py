"""Cases of different devices at the same time: a thread for each device."""

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait

from bench.core.records import Case
from bench.engine.workers import Stopped


def by_device(order: Sequence[Case]) -> list[list[Case]]:
    """Return the cases of each device, in their order."""
    lanes: dict[str, list[Case]] = {}
    for case in order:
        lanes.setdefault(case.device, []).append(case)
    return list(lanes.values())


def side_by_side(
    lanes: Sequence[Sequence[Case]],
    measure: Callable[[Sequence[Case]], bool],
    stop: Callable[[], None],
) -> bool:
    """Measure each lane in a thread of its own.  Return whether all were measured to the end.

    stop: ends what is under way, so that `measure` raises Stopped in the other threads.

    Raises what a lane raises: of several errors the one that made the others stop.  After Ctrl-C
    KeyboardInterrupt passes through when all lanes have ended.
    """
    with ThreadPoolExecutor(len(lanes)) as threads:
        running = [threads.submit(measure, cases) for cases in lanes]
        try:
            wait(running, return_when=FIRST_EXCEPTION)
        finally:
            if not all(lane.done() and not lane.exception() for lane in running):
                stop()
    errors = [error for lane in running if (error := lane.exception())]
    for error in sorted(errors, key=lambda error: isinstance(error, Stopped)):
        raise error
    return all(lane.result() for lane in running)
