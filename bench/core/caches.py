"""The size from which a working set counts as main memory and not as cache."""

# At most a quarter of a working set of four times the last cache can be in that cache.  Repeated
# passes from end to end leave less than that (LRU: nothing).
BEYOND = 4
