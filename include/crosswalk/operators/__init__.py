"""Layer 5: one thin operator per step of a run."""
