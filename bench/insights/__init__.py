"""Insights: the findings of a run in sentences.

It may import `core`, `stats`, `results` and `compare`.
"""
