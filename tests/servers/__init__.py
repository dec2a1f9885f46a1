"""The servers of the tests: a Docker host, PostgreSQL, Redis, engine images and the whole service as processes."""
