"""A folder of runs over the commits of a repository: series, steps, findings."""
