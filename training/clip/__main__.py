"""`python -m training.clip`."""

from training.clip.train import main

main()
