"""The jobs that a process of one case can be given."""
