"""The run: backends are opened, their stages chained, and a mesh and a problem become a solution."""
