"""How our processes reach one another: UNIX sockets, and TCP with certificates beyond a host."""
