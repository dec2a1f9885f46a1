"""The verbs: what is done to a runtime, and the record of it."""
