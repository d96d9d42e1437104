"""A small controller evolved by CMA-ES."""
