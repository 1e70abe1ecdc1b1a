"""Write, read and aggregate the run directory.

It starts no process.  It may import `core` and `stats`.
"""
