"""Films, strips and grids of images."""
