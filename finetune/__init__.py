"""Training from an exported dataset. Empty until there are datasets to train on."""
