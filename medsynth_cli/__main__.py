"""``python -m medsynth_cli``, and the ``medsynth`` script."""

import gc
import sys

# Imports make many objects and no garbage: looking for some after every 700 takes a tenth of the start-up time.
gc.set_threshold(100_000, 50, 100)

from medsynth_cli.app import main  # noqa: E402


def run() -> None:
    """Run the command line and exit with its code."""
    sys.exit(main())


if __name__ == "__main__":
    run()
