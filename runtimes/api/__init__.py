"""The HTTP face of runtimes, and what all of the API shares."""
