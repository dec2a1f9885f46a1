"""The rules of the diagnosis, one module per topic; ``order`` lists them. All are pure functions of the facts."""
