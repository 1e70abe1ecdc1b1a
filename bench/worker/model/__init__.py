"""Build the network of a named subject, its inputs, and a step that can be called."""
