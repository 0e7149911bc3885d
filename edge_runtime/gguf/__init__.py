"""The GGUF file format: headers, quantized blocks, the base GGUF of a device, and safe writing of large files."""
