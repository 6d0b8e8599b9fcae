"""What people and machines are told, and by which way."""
