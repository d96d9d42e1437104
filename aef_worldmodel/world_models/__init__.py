"""World models: recurrent latent dynamics behind one protocol."""
