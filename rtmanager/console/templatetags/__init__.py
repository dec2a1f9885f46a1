"""Found by Django's template engine."""
