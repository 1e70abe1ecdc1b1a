"""How far beyond a cache memory begins, for who measures it and for who reads what was measured."""

# Of a working set of four times a cache at most a quarter can still be in it, and what is touched
# from end to end again and again leaves less (LRU: nothing).
BEYOND = 4
