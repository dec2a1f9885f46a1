"""Health of running games: Docker inspection, probe reports, container exits."""
