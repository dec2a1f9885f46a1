"""The operators' console: Django's admin with a dashboard, a page per game and deeds that ask for a reason.

It reads what the packages below know and acts only through ``operations.intake``, like every other caller.
"""
