"""``python -m summit_dask`` is the command line."""

from summit_dask.cli import program

program()
