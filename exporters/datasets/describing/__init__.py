"""What a dataset says of itself: manifest, card, plots, prices."""
