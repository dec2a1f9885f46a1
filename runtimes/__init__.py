"""The nouns: what a runtime is and how its container is touched."""
