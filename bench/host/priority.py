"""The priority of this process: a measurement at a low one waits for everything else."""

import os


def undo_nice() -> str | None:
    """Set the nice value to 0; return why that is not possible, or None.

    Workers of Ray run at nice 15, and so do the processes that they start.
    """
    if not hasattr(os, "setpriority"):
        return None
    nice = os.getpriority(os.PRIO_PROCESS, 0)
    try:
        if nice > 0:
            os.setpriority(os.PRIO_PROCESS, 0, 0)
    except OSError:
        return (
            f"processes start at nice {nice} there, and only root can undo that; start the node "
            "with RAY_worker_niceness=0"
        )
    return None
