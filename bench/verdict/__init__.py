"""The rules that decide whether a case is better, the same or worse, and the reports of this.

It may import `core`, `stats`, `results` and `compare`.
"""
