"""`python -m cloud_service`: the same as `loragen serve`."""

import signal
import sys

if __name__ == "__main__":
    # As process 1 of a container, Python ignores SIGTERM until a handler is set, and the imports take seconds.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))

    from cloud_service.commands.main import main

    main("serve", *sys.argv[1:])
