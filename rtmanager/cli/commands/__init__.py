"""The commands of ``rtm``, one module per group."""
