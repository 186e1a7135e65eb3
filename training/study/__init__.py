"""Does calibration work in a miniature shaped like a real model? `python -m training.study`."""
