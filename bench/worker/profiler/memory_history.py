"""The history of an accelerator's allocator over one step, in the file that torch's viewer opens.

https://docs.pytorch.org/docs/stable/torch_cuda_memory.html
"""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.worker.device import torch_private

MOST_ENTRIES = 100_000  # several KB each; a step of a thousand layers has some 10,000


def write(memory: Any, call: Callable[[], object], file: Path) -> bool:
    """Write what the allocator did during a call; return whether it keeps a history.

    memory: `torch.cuda.memory`, or the like of another accelerator; None = it has none.
    """
    with torch_private.memory_history(memory, MOST_ENTRIES) as snapshot:
        if snapshot is None:
            return False
        call()
        found = snapshot()
    with file.open("wb") as out:
        pickle.dump(found, out)
    return True
