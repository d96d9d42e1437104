"""Physics engines that step many environments at once."""
