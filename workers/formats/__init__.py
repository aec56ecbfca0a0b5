"""What categories share to read and write their formats: bytes in, bytes out."""
