"""The chaos run: random jobs on real processes and real servers, all of which are killed again and again."""
