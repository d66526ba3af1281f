"""The response cache: keys, entries and the tiers that hold them. Empty until the cache stage joins the chain."""
