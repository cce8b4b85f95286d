"""Signal models: mean and noise of the received samples."""
