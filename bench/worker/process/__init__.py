"""Limits, supervision and side effects of a process."""
