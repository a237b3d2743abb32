"""A view on a terminal: widths, colours, bars."""
