"""Stream entries that could not be read: stored, listed and redriven."""
