"""Docker for the local stack: a private daemon, its network and its sample images."""
