"""From a mesh and a problem to K u = f: element matrices, the pattern, the system, and what all that costs."""
