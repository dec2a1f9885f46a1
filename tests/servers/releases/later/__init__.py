"""The release after the next one: the column is gone."""
