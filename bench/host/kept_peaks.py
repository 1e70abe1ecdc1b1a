"""The machine's peaks from one run to the next: kept for a day in the user's cache folder.

A file for each device, machine and build of torch, and for what was measured there.  A file that
cannot be read or written costs nothing but the time to measure again.
"""

import dataclasses
import datetime
import hashlib
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from bench.core.decode import Decoder
from bench.core.records import STRICT, Case, RecordError
from bench.host import peaks

LIFETIME = datetime.timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Kept:
    """Peaks of a device, and when they were measured: ISO 8601 in UTC."""

    __pydantic_config__: ClassVar[Mapping[str, Any]] = STRICT

    measured: str
    size_sweeps: list[peaks.SizeSweeps]

    @property
    def fields(self) -> list[dict[str, Any]]:
        """Return the size sweeps in the form of run.json."""
        return [dataclasses.asdict(one) for one in self.size_sweeps]


_KEPT: Decoder[Kept] = Decoder(Kept, "file of kept peaks")


@dataclass(frozen=True, slots=True)
class Store:
    """The peaks that are kept of this machine with this build of torch.

    folder: None: there is no folder for them, so none are kept.
    build:  all that the peaks depend on beside the device and what is measured.
    """

    folder: Path | None
    build: Mapping[str, Any]

    def load(self, cases: Sequence[Case], now: datetime.datetime) -> dict[str, Kept]:
        """Return, by device, the peaks measured in the last day for such cases."""
        found = {}
        for device in peaks.devices(cases):
            kept = self._read(device, cases)
            if kept and is_fresh(kept, now):
                found[device] = kept
        return found

    def save(
        self,
        cases: Sequence[Case],
        found: Mapping[str, Sequence[Mapping[str, Any]]],
        now: datetime.datetime,
    ) -> None:
        """Save the peaks that no other work disturbed."""
        for device, size_sweeps in found.items():
            path = self._path(device, cases)
            if path is None or peaks.disturbed({device: size_sweeps}):
                continue
            document = {"measured": written(now), "size_sweeps": list(size_sweeps)}
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                _replace(path, json.dumps(document))
            except OSError:
                continue  # they are measured again next time

    def _read(self, device: str, cases: Sequence[Case]) -> Kept | None:
        path = self._path(device, cases)
        try:
            return None if path is None else _KEPT.of_json(path.read_bytes())
        except (OSError, RecordError):
            return None

    def _path(self, device: str, cases: Sequence[Case]) -> Path | None:
        if self.folder is None:
            return None
        key = json.dumps([dict(self.build), peaks.asked(device, cases)], sort_keys=True)
        return self.folder / f"peaks-{hashlib.sha256(key.encode()).hexdigest()[:16]}.json"


def is_fresh(kept: Kept, now: datetime.datetime) -> bool:
    """Return whether it is of the last day; a clock that was set back makes none."""
    try:
        age = now - datetime.datetime.fromisoformat(kept.measured)
    except (ValueError, TypeError):
        return False
    return datetime.timedelta(0) <= age < LIFETIME


def written(now: datetime.datetime) -> str:
    return now.isoformat(timespec="seconds")


def cache_folder(environ: Mapping[str, str] = os.environ) -> Path | None:
    """Return the suite's folder in the user's cache (XDG Base Directory); None without a home."""
    base = Path(environ.get("XDG_CACHE_HOME") or "")
    if not base.is_absolute():  # the standard has a relative one ignored
        home = environ.get("HOME")
        if not home:
            return None
        base = Path(home) / ".cache"
    return base / "convnet-bench"


def _replace(path: Path, text: str) -> None:
    """Write the whole file or leave the old one, even if two runs write.  Raises OSError."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=".peaks-")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        Path(name).replace(path)
    except OSError:
        Path(name).unlink(missing_ok=True)
        raise
