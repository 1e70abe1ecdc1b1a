"""From a name to a network, its inputs and a step that can be called."""
