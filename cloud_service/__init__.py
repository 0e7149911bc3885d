"""The cloud service: reads task descriptions, generates LoRA bundles, and publishes them to channels."""
