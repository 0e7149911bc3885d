"""`python -m cloud_service`: the same as `loragen serve`."""

import sys

from loragen.signals import exit_on_sigterm

if __name__ == "__main__":
    exit_on_sigterm()

    from cloud_service.commands.main import main

    main("serve", *sys.argv[1:])
