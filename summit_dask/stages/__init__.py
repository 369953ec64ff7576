"""The stages of a run, on a Dask cluster."""
