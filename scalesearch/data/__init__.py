"""Images: from a source, decoded once into square uint8 arrays, split into train, minival and val."""

from scalesearch.data.images import Images, load_images, open_source

__all__ = ["Images", "load_images", "open_source"]
