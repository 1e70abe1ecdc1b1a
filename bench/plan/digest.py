"""A digest of what a run was asked to measure, by which shards of one run are known."""

import hashlib
import json

from bench.plan.config import Config

# They say where a file lies or when a run stops, and not what is measured.
NOT_MEASURED = frozenset(
    {
        "source",
        "weights",
        "budget_s",
        "extras_s",
        "accelerator_budget_s",
        "timeout_s",
    }
)


def of(settings: Config) -> str:
    """Return 12 hexadecimal digits; equal on every machine for equal sweeps and sampling."""
    asked = {name: value for name, value in settings.as_dict().items() if name not in NOT_MEASURED}
    text = json.dumps(asked, sort_keys=True, default=list)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
