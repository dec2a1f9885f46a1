"""What measures run on: the service with its servers, clients of it, databases, and facts about the machine."""
