"""One control interval as text or as a picture."""
