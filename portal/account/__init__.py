"""Who you are, and what you are entitled to."""
