"""What the platform is compared with; each runs in processes of its own."""
