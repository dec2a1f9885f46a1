"""The composition root: settings, URLs, the Celery application, the console, the command line.

It may import every other package; no other package imports it.
"""

__version__ = "0.2.0"
