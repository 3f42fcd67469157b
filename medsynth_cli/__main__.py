"""``python -m medsynth_cli``, and the ``medsynth`` script."""

import sys

from medsynth_cli.app import main


def run() -> None:
    """Run the command line and exit with its code."""
    sys.exit(main())


if __name__ == "__main__":
    run()
