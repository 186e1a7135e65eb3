"""Words in pictures: drawn sets, and what guards of words make of them."""
