"""What an answer says beside its figures: of the model, the card, the weights, and what is not modelled."""
