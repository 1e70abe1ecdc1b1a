"""The report as one page of HTML.

It may import what reads results, and `plots`.
"""
