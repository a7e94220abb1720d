"""What a plugin meets: hooks, backends, formats, solvers, events; and what finds, checks and calls it."""
