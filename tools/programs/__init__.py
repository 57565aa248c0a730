"""Programs of the built-in tools: stdlib scripts that run inside a sandbox or a child process."""
