"""The console command `gnl-jax`."""
