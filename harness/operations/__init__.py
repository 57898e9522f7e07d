"""What a platform runs in production, built on the core library: deploying, judging canaries, and what is watched."""
