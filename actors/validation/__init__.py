"""Named rules between what the wire said and what bars are made of."""
