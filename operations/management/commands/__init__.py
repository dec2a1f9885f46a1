"""Management commands of the operations package."""
