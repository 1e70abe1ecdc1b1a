"""Group machines by kind, and tell versions of software apart.  Pure."""

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

# These must be equal in all shards, since a figure of another version is another figure.
VERSIONS = ("bench", "torch", "cuDNN", "Python", "commit")
# The numbers of the allowed processors say nothing about their speed; how many there are does.
WHICH_DEVICES = "_VISIBLE_DEVICES"  # a scheduler sets it: one of several that are alike
NO_KIND = frozenset({*VERSIONS, "state of the working tree", "set of processors allowed"})


def versions(fixed: Mapping[str, Any]) -> dict[str, Any]:
    """Return what must be equal on all machines, by the name that messages use.

    fixed: `bench.host.environment.fixed_details`.
    """
    return {name: fixed.get(name) for name in VERSIONS}


def different(one: Mapping[str, Any], other: Mapping[str, Any]) -> str | None:
    """Return `another torch: 2.12 instead of 2.13`, for all that differs; None if nothing does."""
    found = [
        f"another {name}: {other.get(name)} instead of {one.get(name)}"
        for name in dict.fromkeys((*one, *other))
        if one.get(name) != other.get(name)
    ]
    return "; ".join(found) or None


def kind(fixed: Mapping[str, Any], label: str | None = None) -> str:
    """Return 8 hexadecimal digits that machines of one kind share.

    label: sets machines apart that look alike, by a name that their owner gave.
    """
    details = {
        name: value
        for name, value in fixed.items()
        if name not in NO_KIND and not name.endswith(WHICH_DEVICES)
    }
    text = json.dumps([details, label], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def folder_name(devices: Mapping[str, str], kind_: str, label: str | None = None) -> str:
    """Return a readable name: its label, else its last device, which is an accelerator if it has
    one.
    """
    shown = label or ["machine", *devices.values()][-1]
    words = re.sub(r"\((R|TM)\)|[^A-Za-z0-9.]+", "-", shown, flags=re.IGNORECASE).strip("-")
    return f"{words[:40].strip('-')}-{kind_}"
