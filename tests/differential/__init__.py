"""Generated manifests, judged by a real API server and by ``trivet lint``; ``agreement`` says when the two agree."""
