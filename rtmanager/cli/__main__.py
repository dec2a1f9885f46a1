"""``python -m rtmanager.cli``, the same as ``rtm``."""

from rtmanager.cli.main import main

if __name__ == "__main__":
    main()
