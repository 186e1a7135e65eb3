"""Training of `mini/llava`, the miniature LLaVA: `python -m training.llava`."""
