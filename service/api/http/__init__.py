"""HTTP itself, whatever the route: methods, HEAD, headers, CORS, a path prefix."""
