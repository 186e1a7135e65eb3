"""Training of the shipped miniature models; not part of the wheel."""
