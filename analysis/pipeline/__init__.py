"""Which step is due, and where it runs: cache keys, processes, Dask."""
