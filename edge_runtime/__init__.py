"""The edge runtime: follows a channel, merges LoRAs into the local model, serves the results.

Never imports torch, transformers or peft; `llama_cpp` is imported by `serving/llama.py` and `llama_model.py` alone.
"""
