"""Networks and devices of known cost, for `bench selftest`."""
