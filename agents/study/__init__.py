"""Studies: grids of trainings that are run, resumed, gathered and reported by one command."""
