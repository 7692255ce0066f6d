"""The first page after signing in, for subscribers and for staff."""
