"""Layer 1: talking to other systems: connections, checks, verified transfers."""
