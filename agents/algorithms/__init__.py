"""The agents, one module each; a new module that registers an agent is found by itself."""
