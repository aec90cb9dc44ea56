"""Many runs, on Dask."""
