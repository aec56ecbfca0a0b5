"""What the public and one user at a time are told, what they choose, and what they claim."""
