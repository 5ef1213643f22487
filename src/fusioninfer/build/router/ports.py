"""Where the router's pod listens. The user's own containers in it must keep clear of these."""

ENTRY_PORT = 8081
"""Envoy: requests of clients."""
READY_PORT = 19001
"""Envoy: whether it may get requests."""
PICKER_PORT = 9002
"""The picker: Envoy's questions, by gRPC."""
HEALTH_PORT = 9003
"""The picker: whether it answers, by gRPC."""
