"""Cleaning the images of values that other programs made, such as messages."""
