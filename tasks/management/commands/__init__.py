"""The loops as management commands, and commands for operators."""
