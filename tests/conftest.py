"""What every test starts from."""

import signal

# Who starts the tests in the background has them ignore Ctrl-C, and so does all that they start:
# those that send it would wait for nothing.
signal.signal(signal.SIGINT, signal.default_int_handler)
