"""Drives worker processes, one case at a time.

It may import `core`, `stats`, `host`, `plan` and `results`.
"""
