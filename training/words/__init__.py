"""The built-in classifiers of words: what they learn from, and the command that trains them."""
