"""The two-alternative study: people, or metrics, choose which of two reconstructions is closer to a picture."""
