"""The lock files of pyproject.toml, one per extra, with hashes. ``make lock`` writes them."""
