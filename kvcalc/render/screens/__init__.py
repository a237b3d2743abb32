"""How each result looks: a view of it, whatever it is then written as."""
