"""Material given to notebooks: the running example, plots, data."""
