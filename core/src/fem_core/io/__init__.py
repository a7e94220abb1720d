"""Files: meshes and results, read and written by their ending, a module for each format."""
