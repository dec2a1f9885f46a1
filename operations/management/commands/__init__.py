"""``manage.py explain``."""
