"""One update of the world model and the agent."""
