"""Turn TOML and flags into the cases of a sweep.

It may import `core` and `host`.
"""
