"""Images of many environments at once, by ray tracing."""
