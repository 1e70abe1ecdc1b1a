"""What runs inside probe, replicate and child processes: the only place that imports torch."""
