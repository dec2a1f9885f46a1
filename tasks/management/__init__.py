"""Management commands of the edges."""
