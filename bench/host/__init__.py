"""This computer: its processors, its interpreters, and how processes are started on it.

It may import `core` and `start`.
"""
