"""Processes that run on this machine."""

import psutil


def running(*command: str) -> list[psutil.Process]:
    """The processes of exactly this command line."""
    return [one for one in psutil.process_iter(["cmdline"]) if one.info["cmdline"] == list(command)]
