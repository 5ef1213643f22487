"""What developers run: the demonstration, generated files, an operator beside a cluster."""
