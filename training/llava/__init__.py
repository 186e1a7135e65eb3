"""How `mini/llava`, the miniature LLaVA, is trained: `python -m training.llava`."""
