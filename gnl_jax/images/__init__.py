"""Functions on images: augmentation and views in JAX, resizing and corruption on the host."""
