"""What every test starts from."""

import signal
from collections.abc import Iterator

import pytest

# Who starts the tests in the background has them ignore Ctrl-C, and so does all that they start:
# those that send it would wait for nothing.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def signals_as_they_were() -> Iterator[None]:
    """What is for a child that ends would have the tests after it wait for signals in vain."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    yield
    assert signal.pthread_sigmask(signal.SIG_SETMASK, before) == before
