"""The HTTP face of operations."""
