"""From the name of a subject to a network, its inputs, and a step that can be called."""
