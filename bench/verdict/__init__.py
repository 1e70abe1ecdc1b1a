"""Better, the same or worse: the rules, and the report of their verdicts.

It may import `core`, `stats`, `results` and `compare`.
"""
