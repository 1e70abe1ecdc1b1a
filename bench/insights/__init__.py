"""Sentences for people: what the figures of a run say.

It may import `core`, `stats`, `results` and `compare`.
"""
