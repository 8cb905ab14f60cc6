"""HTTP: the endpoints of OAuth, and the pages for people."""
