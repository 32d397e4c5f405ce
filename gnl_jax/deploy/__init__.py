"""What leaves the building: compiled programs proven equal to a detector, and what runs them."""
