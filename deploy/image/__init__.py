"""The container image: its entrypoint and health check, and how ``make image`` and the tests build it."""
