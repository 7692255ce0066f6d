"""What the vendor sells."""
