"""Secret sources: one scheme a file."""
