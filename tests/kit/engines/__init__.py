"""Small engines that tests run as real processes, and what runs them (``process``)."""
