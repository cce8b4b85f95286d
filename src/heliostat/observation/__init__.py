"""What a receiver sees: the mean of its samples and their noise. Every signal model lives here."""
