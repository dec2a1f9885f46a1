"""The composition root: settings, addresses, the Celery application, the command line. Knows everybody, imported by
nobody.
"""

__version__ = "0.1.0"
