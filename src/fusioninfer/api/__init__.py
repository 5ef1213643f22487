"""What users write, what it means, and the names that we promise."""
