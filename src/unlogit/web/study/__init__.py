"""Studies: people, or metrics, choose the closer of two reconstructions, or people name what an image shows."""
