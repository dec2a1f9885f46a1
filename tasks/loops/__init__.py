"""The long-running processes beside Celery: bridge, sweeper, relay, watcher, prober and scheduler.

Each loop has one leader at a time (``leader_election``).
"""
