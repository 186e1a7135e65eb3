"""What is checked before a release: `python -m release.check`, or `make release-check`."""
