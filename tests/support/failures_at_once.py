"""A plugin of pytest: each failure is printed when it happens, not at the end.

`pytest -p tests.support.failures_at_once …`.  A session on a borrowed device may be cut off, and
the failures would be lost with its end.
"""

import pytest


class FailuresAtOnce:
    """Prints what failed below the line of its test."""

    def __init__(self, terminal: pytest.TerminalReporter) -> None:
        self._terminal = terminal

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self._terminal.ensure_newline()
            self._terminal.write_sep("_", f"{report.when} of {report.nodeid} failed")
            self._terminal.write_line(report.longreprtext)
            self._terminal.flush()


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """Registers it, once there is a reporter of the terminal."""
    terminal = config.pluginmanager.get_plugin("terminalreporter")
    if terminal is not None:
        config.pluginmanager.register(FailuresAtOnce(terminal))
