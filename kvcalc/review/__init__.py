"""One question put to several verbs, for a design review: answers and refusals side by side.

`review.py` holds what comes of it, `asking.py` which options each verb is asked with and how it is asked again,
`question.py` what was asked with every default that was taken, `pictures.py` what is drawn, `make.py` the function of
Python. Nothing here computes a figure: each is a verb's own.
"""
