"""Small networks of our own in the manner of public families, one class each."""
