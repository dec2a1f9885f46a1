"""The HTTP face of the edges: what came in that nobody could read."""
