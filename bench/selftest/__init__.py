"""Work of known cost and known faults, measured on the path of a run.

It may import `engine` and what lies below it, and `terminal`.
"""
