"""The edge runtime: follows a channel, merges LoRAs into the local model, serves the results.

Never imports torch, transformers or peft; `llama_cpp` is imported by the adapter of `serving/llama.py` alone.
"""
