"""What can be done: tools, their permissions, and the sandbox they run in."""
