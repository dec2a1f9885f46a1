"""The local stack behind ``make run``, ``make demo`` and ``make test``.

It starts PostgreSQL, Redis and Docker when none is given, and supervises all processes of the service.
Nothing here is part of the installed package.
"""
