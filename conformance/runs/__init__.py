"""A whole run: a backend's checks, its certificate and journal."""
