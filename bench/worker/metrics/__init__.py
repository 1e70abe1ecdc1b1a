"""FLOPs, bytes moved and memory of a call."""
