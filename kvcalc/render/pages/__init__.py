"""Documents: a review as a page of HTML and as Markdown."""
