"""The port to Redis Streams and its adapters."""
