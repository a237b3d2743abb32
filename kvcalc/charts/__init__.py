"""Pictures: charts as plain data, and what writes them.

`chart.py` holds the data: exact values with the words of their axes. `svg.svg(chart, width=...)` writes a picture,
`text.text(chart, width=...)` lines of a terminal. Nothing here computes a figure or knows a model.
"""
