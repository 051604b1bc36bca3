"""API Priority and Fairness (KEP-1040), decided without waiting: which flow a request is of, and when its turn comes.

Time is always an argument; who waits, and for how long, is the API server's affair.
"""
