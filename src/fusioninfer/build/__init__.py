"""What should exist: manifests, made from values and nothing else."""
