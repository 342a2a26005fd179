"""Reports of runs: reading and grouping them, tables, learning curves, pages."""
