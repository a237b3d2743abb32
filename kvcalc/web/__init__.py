"""The calculator as a page: one function that answers it, its files, and a server for the machine it runs on."""
