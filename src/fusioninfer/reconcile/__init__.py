"""From the world to the world: observe, plan, apply, status; `loop` puts them in order."""
