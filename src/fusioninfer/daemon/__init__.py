"""A process that stays up: wiring, queue, leader election, endpoints and settings."""
