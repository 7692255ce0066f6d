"""A self-hosted beta and release notification portal for small software vendors."""
