"""Layer 1: typed models of connection files and the tenant model, their loader and their checks."""
