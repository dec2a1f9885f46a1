"""Everything around the service: the local stack, and what monitors it."""
