"""Management commands of the runtimes."""
