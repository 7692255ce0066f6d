"""The board at size: lists, search, similar items and the inbox, as the items and votes grow."""
