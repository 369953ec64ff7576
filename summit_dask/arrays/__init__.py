"""Arrays in, arrays out: the numbers of DESIGN section 3. No files, no torch modules, no cluster."""

from summit_dask.facts.process import keep_compiled_code

keep_compiled_code(__file__)
