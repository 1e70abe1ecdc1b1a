"""What only reads results: tables, statistics, comparisons, plots.  Never imports torch."""
