"""HTTP only: guards, error pages, headers, the frame, template filters."""
