"""The next release: one column more."""
