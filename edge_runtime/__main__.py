"""`python -m edge_runtime`: the same as `loragen-edge run`."""

import signal
import sys

if __name__ == "__main__":
    # As process 1 of a container, Python ignores SIGTERM until a handler is set, and the imports take seconds.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))

    from edge_runtime.cli import main

    main("run", *sys.argv[1:])
