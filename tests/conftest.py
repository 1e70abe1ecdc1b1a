"""The state from which every test starts."""

import signal
from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.support.guard import (  # noqa: F401 - pytest finds its hooks here
    pytest_addoption,
    pytest_configure,
    pytest_itemcollected,
    pytest_runtest_call,
    pytest_runtest_protocol,
    pytest_runtest_setup,
    pytest_runtest_teardown,
)

# Who starts the tests in the background has them ignore Ctrl-C, and so does all that they start:
# those that send it would wait for nothing.
signal.signal(signal.SIGINT, signal.default_int_handler)

# The same inputs each time: a test that fails by chance says nothing of the change at hand.  No
# deadline: on a busy machine it would fail as well.  `--hypothesis-profile=search` draws others.
settings.register_profile("same", derandomize=True, database=None, deadline=None)
settings.register_profile("search", deadline=None, print_blob=True)
settings.load_profile("same")


@pytest.fixture(autouse=True, scope="session")
def own_cache_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A run in a test keeps nothing for the user, and finds nothing of the user's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(autouse=True)
def signals_as_they_were() -> Iterator[None]:
    """Check that a test leaves the signals unblocked, since later tests wait for them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    yield
    assert signal.pthread_sigmask(signal.SIG_SETMASK, before) == before
