"""The adapters for Redis and Valkey: job streams, event streams and completion notifications.

Only this package imports redis, and it uses only commands of Redis 6.2.
"""
