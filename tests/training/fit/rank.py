"""Helper: what each of several processes of `test_processes.py` runs: `rank.py OUT MODEL RUN...`, a RUN being JSON.

Trains by the command line's entry point, one run after another, then shards MODEL and writes into folder OUT what is
left of a weight in this process, and how far the sharded model's states are from the whole one's.
"""

import json
import sys
from pathlib import Path

import torch

from cloud_service.generator.pretrained import load_language_model
from tests.training.commands import run_command
from training.fit.processes import Processes


def main(out: str, model: str, *runs: str) -> None:
    for run in runs:
        run_command(*json.loads(run))
    loaded = load_language_model(Path(model), torch.float32)
    decoder = loaded.get_decoder()
    ids = torch.arange(12)[None]
    processes = Processes()
    with torch.no_grad():
        whole = decoder(ids).last_hidden_state
        processes.shard(loaded)
        difference = (decoder(ids).last_hidden_state - whole).abs().max().item()
    weight = decoder.layers[0].mlp.up_proj.weight
    found = {"whole": list(weight.shape), "here": list(weight.to_local().shape), "difference": difference}
    (Path(out) / f"shard-{processes.rank}.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
