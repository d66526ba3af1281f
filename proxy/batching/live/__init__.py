"""Items that are asked live: of local upstreams, of the flex tier, and those whose deadline is near."""
