"""What is AWS's in general: clients, TLS, items, and how Lambda calls us. Knows nothing of videos."""
