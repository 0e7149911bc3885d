"""Helper: the device's TUF client on a command line, as the public conformance suite wants it. It is run by hand:

    git clone https://github.com/theupdateframework/tuf-conformance   # and install it, with faketime
    pytest tuf-conformance/tuf_conformance --entrypoint "$PWD/conformance-client"

where `conformance-client` runs this file with the repository on PYTHONPATH.
"""

import argparse
import asyncio
import shutil
import sys
import time
from pathlib import Path

import httpx2

from edge_runtime.cloud.fetcher import HttpFetcher
from edge_runtime.cloud.trust import LoopFetcher, refresh


async def run(options: argparse.Namespace) -> None:
    provisioned = options.metadata_dir / "provisioned"
    if options.command == "init":
        shutil.copy(options.root, provisioned)
        shutil.copy(options.root, options.metadata_dir / "root.json")
        return
    async with httpx2.AsyncClient(timeout=5.0) as client:
        fetcher = LoopFetcher(HttpFetcher(client, 30.0, time.time).fetch_metadata)

        def work() -> None:
            updater = refresh(
                options.metadata_dir, options.metadata_url.rstrip("/") + "/", provisioned.read_bytes(), fetcher
            )
            updater.target_dir = str(options.target_dir)
            for name in options.target_name or ():
                if (target := updater.get_targetinfo(name)) is None:
                    sys.exit(f"{name} is not listed")
                if updater.find_cached_target(target) is None:
                    updater.download_target(target, target_base_url=options.target_base_url)

        await asyncio.to_thread(work)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--metadata-dir", type=Path, required=True)
    parser.add_argument("--metadata-url")
    parser.add_argument("--target-name", action="append")
    parser.add_argument("--target-dir", type=Path)
    parser.add_argument("--target-base-url")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("init").add_argument("root", type=Path)
    commands.add_parser("refresh")
    commands.add_parser("download")
    asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
