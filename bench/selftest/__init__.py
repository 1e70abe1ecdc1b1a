"""`bench selftest`: known work, measured on the very path of a run, and judged."""
