"""The operators' console: Django's admin with a dashboard, a page per game and actions that ask for a reason.

It reads the models of the packages below and acts only through ``operations.intake``, like every other caller.
"""
