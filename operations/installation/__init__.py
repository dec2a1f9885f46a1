"""State of the installation as a whole: the state root, and a database that was restored."""
