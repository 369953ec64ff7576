"""The Zarr store: its layout, reading and writing."""
