"""Networks that the tests measure."""
