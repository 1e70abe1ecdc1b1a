"""Scripts that print what the harness itself costs: figures, no tests."""
