"""Text for the terminal: progress, summaries, and streams that may break.

It may import what reads results, and `plan`; it measures nothing.
"""
