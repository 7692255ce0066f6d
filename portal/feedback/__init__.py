"""The board: what subscribers ask for, and what becomes of it."""
