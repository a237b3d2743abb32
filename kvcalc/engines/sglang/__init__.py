"""SGLang: one pool of tokens for all layers, sized by what the weights leave of a share of the card."""
