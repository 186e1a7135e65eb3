"""Words in pictures: reading them, judging them, and where they stand. Needs the extra `words`."""
