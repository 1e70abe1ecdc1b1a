"""Count instructions: requests to callgrind, the canary, and the Python calls of one call."""
