"""How `mini/clip`, the miniature open_clip encoder, is trained: `python -m training.clip`."""
