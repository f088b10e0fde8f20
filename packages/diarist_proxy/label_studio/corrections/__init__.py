"""What people did with predictions: read, measured, learned from, and taken away."""
