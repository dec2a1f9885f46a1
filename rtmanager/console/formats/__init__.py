"""How the console writes times and numbers, by language; Django looks here first."""
