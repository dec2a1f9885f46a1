"""What the actions are made of: the attempt, its timeline, Docker calls, image pulls and completion."""
