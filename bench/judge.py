"""`bench compare` and `bench check` from beginning to end: they read results and measure nothing."""

from pathlib import Path

from rich.console import Console
