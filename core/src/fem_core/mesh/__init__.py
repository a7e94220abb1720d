"""The mesh: its elements, edges and boundaries, what makes it valid, how good it is, and how it is mended."""
