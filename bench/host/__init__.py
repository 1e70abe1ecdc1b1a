"""The machine: its processors, its interpreters, and the start of processes.

It may import `core` and `start`.
"""
