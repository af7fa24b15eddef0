"""Images: from a source, decoded once into square uint8 arrays, split into train, minival and val."""
