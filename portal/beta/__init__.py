"""The gate in front of betas, and the programme around them."""
