"""Topics, subscriptions and the outbox: mail that is never lost and never doubled."""
