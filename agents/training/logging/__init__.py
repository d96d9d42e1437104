"""Where a run's numbers, images and videos go."""
