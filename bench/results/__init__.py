"""The folder of a run: written, read, aggregated.

It starts no process.  It may import `core` and `stats`.
"""
