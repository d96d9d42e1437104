"""A world model as a page in which one plays: graphs, start frames, files."""
