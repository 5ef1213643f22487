"""What a router role adds: the Endpoint Picker, its config, and the way in to it."""
