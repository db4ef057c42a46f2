"""HTTP for every route: bodies, errors, authentication, deadlines and the request log."""
