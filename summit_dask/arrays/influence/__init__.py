"""Influence of one layer's channels on another's: one measure a file, and the kernels that compute it."""
