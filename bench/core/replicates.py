"""The numbers of replicates of a run.  Pure."""


def first(asked: int, least: int | None) -> int:
    """Return how many replicates each case has before any has more, where time is short.

    asked: `replicates` in [run].  least: `least_replicates`; None: all that are asked for.
    """
    return min(least or asked, asked)
