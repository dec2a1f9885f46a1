"""``python -m deploy.requirements NAME...``: print the requirements of extras alone; ``build`` is the build system."""

import sys
import tomllib
from pathlib import Path


def main(*names: str) -> None:
    """Write one requirement per line."""
    stated = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    groups = {**stated["project"]["optional-dependencies"], "build": stated["build-system"]["requires"]}
    sys.stdout.write("".join(f"{text}\n" for name in names for text in groups[name]))


main(*sys.argv[1:])
