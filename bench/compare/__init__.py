"""Match rows and compute the ratios between them, with intervals.

It may import `core`, `stats` and `results`.
"""
