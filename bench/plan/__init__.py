"""From TOML and flags to the cases of a sweep.

It may import `core` and `host`.
"""
