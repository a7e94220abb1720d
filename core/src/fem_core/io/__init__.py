"""Files of meshes and results: the ending selects the format; each format has a module."""
