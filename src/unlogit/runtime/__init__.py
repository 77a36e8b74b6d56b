"""Where and how things run: device and precision, processes, checkpoints, progress."""
