"""What `benchmarks.cloud_speed` compares the cloud service with: FastAPI and uvicorn as they come, prepared answers.

python -m benchmarks.bare_service PORT FILE: the file has the bytes to answer with.
"""

import sys
import time
from pathlib import Path

import uvicorn
from fastapi import FastAPI, Response

ETAG = '"0000000000000000000000000000000000000000000000000000000000000000"'


def make_app(answer: bytes) -> FastAPI:
    """An application that does nothing."""
    app = FastAPI()

    @app.post("/generate-lora")
    async def generate_lora() -> Response:
        return Response(answer, media_type="application/json")

    @app.get("/channels/bare")
    async def channel() -> Response:
        return Response(status_code=304, headers={"etag": ETAG, "cache-control": "no-cache"})

    @app.get("/cpu")
    async def cpu() -> float:
        return time.process_time()

    return app


if __name__ == "__main__":
    uvicorn.run(make_app(Path(sys.argv[2]).read_bytes()), port=int(sys.argv[1]), access_log=False, log_level="warning")
