"""What people tell the gate in comments: read here, allowed or refused, and answered."""
