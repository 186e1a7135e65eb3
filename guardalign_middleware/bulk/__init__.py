"""Scanning many pictures: what to scan, by which processes, and where results go."""
