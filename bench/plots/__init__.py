"""The plots of a run: the package that uses matplotlib; `html` only embeds its figures.

It may import `core`, `stats`, `results`, `compare`, `verdict` and `insights`.
"""
