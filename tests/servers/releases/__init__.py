"""The next two releases, made of this one: their versions and their migrations differ, for tests of upgrades.

``next`` adds a column, which this release does not need to know. ``later`` drops it, which only ``next`` has prepared.
"""
