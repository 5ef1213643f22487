"""What the operator costs, counted from the API server's audit log and from /proc, beside a minimal client."""
