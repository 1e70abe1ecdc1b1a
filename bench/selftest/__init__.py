"""Measure work of known cost and with known faults in the same way as a run does.

It may import `engine` and what lies below it, and `terminal`.
"""
