"""Why a game is as it is: a decision table over what is known of it. Pure; ``operations.gathering`` looks."""
