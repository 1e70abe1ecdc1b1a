"""Ratios between rows, with intervals: which rows match, and by how much they differ.

It may import `core`, `stats` and `results`.
"""
