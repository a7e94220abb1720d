"""Tools around the solver: checks of meshes and backends, the doctor, timings, tuning."""
