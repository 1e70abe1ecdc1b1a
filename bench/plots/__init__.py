"""The plots of a run: the only package that uses matplotlib.

It may import `core`, `stats`, `results`, `compare`, `verdict` and `insights`.
"""
