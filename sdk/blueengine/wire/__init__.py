"""What goes over the line: key names, status tables, frozen models and their codec. No I/O here."""
