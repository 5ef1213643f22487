"""Speaking to an API server, ignorant of our kinds."""
