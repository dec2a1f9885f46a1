"""The commands of the README in a bare Debian of another release, with its own root file system and processes."""
