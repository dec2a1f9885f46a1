"""The admin pages of all models. Django's autodiscovery imports this package, which registers them."""

from rtmanager.console.admin import access, dead_letters, games, operations, users

__all__ = ["access", "dead_letters", "games", "operations", "users"]
