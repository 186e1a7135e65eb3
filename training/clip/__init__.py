"""Training of `mini/clip`, the miniature open_clip encoder: `python -m training.clip`."""
