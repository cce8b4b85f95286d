"""Tables, pages and files from results."""
