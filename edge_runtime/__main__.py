"""`python -m edge_runtime`: the same as `loragen-edge run`."""

import sys

from loragen.signals import exit_on_sigterm

if __name__ == "__main__":
    exit_on_sigterm()

    from edge_runtime.cli import main

    main("run", *sys.argv[1:])
