"""A real one-node Kubernetes on this machine, without Docker: `python -m testbed up|down|status|build|load-image`.

Standard library only, so that it runs before anything is installed. Nothing of the operator knows that it exists.
"""
