"""The whole portal on one machine, with sample data and a mail catcher: `portal demo`."""
