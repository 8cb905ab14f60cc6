"""What is decided without I/O: names, passwords, secrets, redirect addresses."""
